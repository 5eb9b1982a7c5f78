"""From latents to pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from boldvision.device import autocast
from boldvision.faces import blur_faces
from boldvision.generators.images import to_uint8

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

PLACES = 4 * 64 * 64
"""Of latents that are decoded together: four pictures of 512 px take some 4 GB, by their shapes."""


@torch.no_grad()
def decode_latents(
    vae: AutoencoderKL,
    latents: torch.Tensor | np.ndarray,
    precision: str = "no",
    rounding: str = "nearest",
    blur: bool = False,
) -> np.ndarray:
    """Pictures of latents, on the device of the VAE.

    Parameters
    ----------
    vae : AutoencoderKL
        Of :func:`boldvision.generators.base.load_vae`.
    latents : Tensor or ndarray, [N, channels, h, w]
        As the VAE encodes: without its scaling factor, by which the U-Net's are multiplied.
    precision, rounding, blur
        ``precision``, ``rounding`` and ``blur_faces`` of a run's `reconstruction`.

    Returns
    -------
    ndarray of uint8, [N, px, px, 3]

    Raises
    ------
    UserError
        A picture is not finite.
    """
    decoded = _decoded(vae, torch.as_tensor(latents), precision)
    pictures = np.concatenate([to_uint8(some, rounding) for some in decoded])
    return blur_faces(pictures) if blur else pictures


@torch.no_grad()
def decode_values(vae: AutoencoderKL, latents: torch.Tensor, precision: str = "no") -> torch.Tensor:
    """The same, as the VAE has them: float [N, 3, px, px], about [-1, 1] but not cut there."""
    return torch.cat([some.float() for some in _decoded(vae, latents, precision)])


def _decoded(vae: AutoencoderKL, latents: torch.Tensor, precision: str) -> Iterator[torch.Tensor]:
    values = latents.to(vae.device, torch.float32)
    for some in values.split(max(1, PLACES // values[0, 0].numel())):
        with autocast(vae.device, precision):
            decoded = vae.decode(some).sample
        yield decoded
