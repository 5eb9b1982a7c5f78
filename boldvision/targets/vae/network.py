"""VAE posteriors of images, computed once.

Training draws a latent from the stored mean and log-variance, so no step pays for the encoder
(1.117 TFLOP per 512-px image, more than the U-Net's forward pass).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from boldvision.errors import UserError
from boldvision.generators.base import load_vae
from boldvision.generators.images import to_tensor
from boldvision.networks.autoencoder import network as autoencoder
from boldvision.networks.autoencoder.settings import Network
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.vae.settings import Target

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


def load(target: Target, frozen: Frozen) -> Callable[[Stimuli], dict[str, np.ndarray]]:
    """Function from pictures to posteriors: `mean`, `logvar`, float16 [N, C, h, w].

    Both are before the VAE's scaling factor (0.66 GB for 10,000 images at 512 px).
    """
    vae, px = _autoencoder(target, frozen)
    vae.to(frozen.device)

    @torch.no_grad()
    def encode(stimuli: Stimuli) -> dict[str, np.ndarray]:
        images = to_tensor(stimuli.pictures, px)
        posterior = vae.encode(images.to(frozen.device)).latent_dist
        values = {"mean": posterior.mean, "logvar": posterior.logvar}
        with np.errstate(over="ignore"):  # the stage looks for infinity
            return {name: value.cpu().numpy().astype(np.float16) for name, value in values.items()}

    return encode


def _autoencoder(target: Target, frozen: Frozen) -> tuple[AutoencoderKL, int]:
    """The VAE, and the side of the pictures that it sees.

    Raises
    ------
    UserError
        The network is of another kind.
    """
    if target.generator:
        generator = frozen.generators[target.generator]
        return load_vae(generator), generator.image_px
    settings = frozen.networks[target.network or ""]
    if not isinstance(settings, Network):
        raise UserError(
            f"networks.{target.network}: expected a network of kind autoencoder, found one of "
            f"{settings.kind}; correct `network` of the target"
        )
    return autoencoder.load(settings), settings.image_px
