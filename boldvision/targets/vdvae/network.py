"""Latents of images, sampled once from their posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from boldvision.generators.images import resized
from boldvision.networks.vdvae import network as vdvae
from boldvision.seeds import derive
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.vdvae.settings import Target


def load(target: Target, frozen: Frozen) -> Callable[[Stimuli], dict[str, np.ndarray]]:
    """Function from pictures to `latents`, float16 [N, latents]; each draw is the image's own."""
    network = vdvae.load(target.chosen(frozen.networks)).to(frozen.device)

    def encode(stimuli: Stimuli) -> dict[str, np.ndarray]:
        pictures = torch.from_numpy(resized(stimuli.pictures, network.sizes.image_px))
        noise = torch.stack([_noise(network, target.seed, int(i)) for i in stimuli.image_id])
        latents = network.encode(pictures.to(frozen.device), noise.to(frozen.device))
        with np.errstate(over="ignore"):  # the stage looks for infinity
            return {"latents": latents.cpu().numpy().astype(np.float16)}

    return encode


def _noise(network: vdvae.Vdvae, seed: int, image_id: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(derive(seed, "vdvae", image_id))
    return torch.randn(network.sizes.latents(), generator=stream)
