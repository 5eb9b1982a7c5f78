"""Pictures as arrays and as the generator's tensors."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from boldvision.errors import UserError


def to_tensor(images: np.ndarray, px: int) -> torch.Tensor:
    """Resize by PIL's bilinear filter and scale to [-1, 1].

    Parameters
    ----------
    images : ndarray of uint8, [N, H, W, 3]
    px : int
        Side of the result: 512 for Versatile Diffusion (paper, appendix B).

    Returns
    -------
    Tensor of float32, [N, 3, px, px]
    """
    return torch.from_numpy(resized(images, px)).permute(0, 3, 1, 2).float() / 127.5 - 1


def resized(
    images: np.ndarray, px: int, filtered: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """8-bit images [N, H, W, 3] to [N, px, px, 3] by a filter of PIL, as 8-bit images again."""
    each = (Image.fromarray(image).resize((px, px), filtered) for image in images)
    return np.stack([np.asarray(image) for image in each])


def to_uint8(pictures: torch.Tensor, rounding: str = "nearest") -> np.ndarray:
    """[-1, 1] float [N, 3, H, W] to uint8 [N, H, W, 3].

    Parameters
    ----------
    pictures : Tensor
    rounding : str
        ``nearest``, or ``truncate``: 255 times a picture in [0, 1], cut, as in the released code.

    Raises
    ------
    UserError
        A picture is not finite: it would be black.
    """
    if not torch.isfinite(pictures).all():
        raise UserError(
            "expected finite pictures, found NaN or infinity behind the generator's VAE. Set "
            "`reconstruction.precision` of the run to bf16 or no; if it is, the model or the "
            "generator is damaged: train or fetch it anew."
        )
    if rounding == "truncate":
        scaled = pictures.float().div(2).add(0.5).clamp(0, 1).mul(255)  # byte() cuts
    else:
        scaled = pictures.float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.byte().permute(0, 2, 3, 1).cpu().numpy()
