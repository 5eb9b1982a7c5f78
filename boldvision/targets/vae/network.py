"""VAE posteriors of images, computed once.

Training draws a latent from the stored mean and log-variance, so no step pays for the encoder
(1.117 TFLOP per 512-px image, more than the U-Net's forward pass).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from boldvision.generators.base import load_vae
from boldvision.generators.images import to_tensor
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.vae.settings import Target


def load(target: Target, frozen: Frozen) -> Callable[[Stimuli], dict[str, np.ndarray]]:
    """Function from pictures to posteriors: `mean`, `logvar`, float16 [N, C, h, w].

    Both are before the VAE's scaling factor (0.66 GB for 10,000 images at 512 px).
    """
    settings = frozen.generators[target.generator]
    vae = load_vae(settings).to(frozen.device)

    @torch.no_grad()
    def encode(stimuli: Stimuli) -> dict[str, np.ndarray]:
        images = to_tensor(stimuli.pictures, settings.image_px)
        posterior = vae.encode(images.to(frozen.device)).latent_dist
        values = {"mean": posterior.mean, "logvar": posterior.logvar}
        with np.errstate(over="ignore"):  # the stage looks for infinity
            return {name: value.cpu().numpy().astype(np.float16) for name, value in values.items()}

    return encode
