"""Random views of training images, each drawn from a stream of its own.

The released code augments with kornia; torchvision's functions are given the same ranges here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1
"""Strength of colour jitter: factors of 1 ± it, and a turn of ± it."""
RATIO = (3 / 4, 4 / 3)
"""Width by height of a crop."""
BLUR_PX, BLUR_SIGMA = 7, (0.1, 2.0)
THRESHOLD, ADDITION = (0.4, 0.6), (-0.1, 0.1)
"""Of solarization, kornia's defaults: what is brighter, after the addition, is inverted."""

View = Callable[[Tensor, int, torch.Generator], Tensor]


def augment(pictures: Tensor, seeds: Sequence[int], view: View, px: int) -> Tensor:
    """A random view of each picture.

    Parameters
    ----------
    pictures : Tensor of float, [N, 3, H, W]
        In [0, 1].
    seeds : sequence of int
        All that is random in a view comes from its own.
    view : callable
        `high_level` or `low_level`.
    px : int
        Side of the views.

    Returns
    -------
    Tensor, [N, 3, px, px]
    """
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    pairs = zip(pictures, streams, strict=True)
    return torch.stack([view(picture, px, stream) for picture, stream in pairs])


def high_level(picture: Tensor, px: int, stream: torch.Generator) -> Tensor:
    """View [3, px, px] that CLIP makes a target of: crop, flip, jitter and grey, now and then."""
    if _happens(0.3, stream):
        picture = _crop(picture, px, (0.6, 1.0), stream)
    picture = F.resize(picture, [px, px])
    if _happens(0.5, stream):
        picture = F.horizontal_flip(picture)
    if _happens(0.3, stream):
        picture = _jitter(picture, stream)
    return _grey(picture) if _happens(0.3, stream) else picture


def low_level(picture: Tensor, px: int, stream: torch.Generator) -> Tensor:
    """View [3, px, px] for the teacher: jitter, grey, solarization and blur, and always a crop."""
    if _happens(0.8, stream):
        picture = _jitter(picture, stream)
    if _happens(0.2, stream):
        picture = _grey(picture)
    if _happens(0.2, stream):
        picture = (picture + _uniform(*ADDITION, stream)).clamp(0, 1)
        picture = F.solarize(picture, _uniform(*THRESHOLD, stream))
    if _happens(0.1, stream):
        picture = F.gaussian_blur(picture, [BLUR_PX, BLUR_PX], [_uniform(*BLUR_SIGMA, stream)] * 2)
    return _crop(picture, px, (0.5, 1.0), stream)


def _uniform(low: float, high: float, stream: torch.Generator) -> float:
    return low + (high - low) * torch.rand(1, generator=stream).item()


def _happens(probability: float, stream: torch.Generator) -> bool:
    return torch.rand(1, generator=stream).item() < probability


def _grey(picture: Tensor) -> Tensor:
    return F.rgb_to_grayscale(picture, num_output_channels=3)


def _jitter(picture: Tensor, stream: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue, in any order."""
    changes = [
        (F.adjust_brightness, _uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, stream)),
        (F.adjust_contrast, _uniform(1 - CONTRAST, 1 + CONTRAST, stream)),
        (F.adjust_saturation, _uniform(1 - SATURATION, 1 + SATURATION, stream)),
        (F.adjust_hue, _uniform(-HUE, HUE, stream)),
    ]
    for number in torch.randperm(len(changes), generator=stream).tolist():
        change, strength = changes[number]
        picture = change(picture, strength)
    return picture


def _crop(picture: Tensor, px: int, scale: tuple[float, float], stream: torch.Generator) -> Tensor:
    """A part of the picture, of an area and a ratio drawn until it fits, resized to `px`."""
    rows, columns = picture.shape[-2:]
    for _ in range(10):
        area = rows * columns * _uniform(*scale, stream)
        ratio = math.exp(_uniform(math.log(RATIO[0]), math.log(RATIO[1]), stream))
        width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < width <= columns and 0 < height <= rows:
            break
    else:
        width, height = columns, rows
    top, left = (int(_uniform(0, free + 1, stream)) for free in (rows - height, columns - width))
    return F.resized_crop(picture, top, left, height, width, [px, px])
