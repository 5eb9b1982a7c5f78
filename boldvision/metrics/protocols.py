"""Evaluation protocols: at which size, and resized how, each metric sees an image.

The networks and formulas of the field's papers agree; the sizes do not, and move SSIM by up to
0.2 on the same images. A protocol is a table, taken from the code of the paper it is named after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from boldvision.metrics.pixels import SsimVariant, unit_range


@dataclass(frozen=True)
class Resize:
    """To a square of `px` pixels. PIL works on uint8 and always antialiases when it shrinks."""

    px: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    library: Literal["pil", "torch"] = "pil"
    antialias: bool = True


@dataclass(frozen=True)
class Protocol:
    """How images reach the metrics.

    Attributes
    ----------
    stimulus, reconstruction : tuple of Resize
        Before anything else.
    inputs : mapping from role to Resize
        What each network sees; role ``pixels`` is SSIM and PixCorr.
    ssim : {"image", "columns"}
        See `boldvision.metrics.pixels.ssim`.
    efficientnet : str
        torchvision's name of the EfficientNet-B1 weights.
    """

    stimulus: tuple[Resize, ...]
    reconstruction: tuple[Resize, ...]
    inputs: Mapping[str, Resize]
    ssim: SsimVariant
    efficientnet: Literal["IMAGENET1K_V1", "IMAGENET1K_V2"]

    def steps(self, kind: Literal["stimulus", "reconstruction"], role: str) -> tuple[Resize, ...]:
        """All resizes of a stimulus or a reconstruction on its way to a role, in order."""
        before = self.stimulus if kind == "stimulus" else self.reconstruction
        return (*before, self.inputs[role])


def _torch(px: int) -> Resize:
    return Resize(px, "bilinear", "torch", antialias=False)


_PIL_INPUTS = {
    "pixels": Resize(425, "bicubic"),
    "alexnet": Resize(224),
    "clip": Resize(224),
    "inception": Resize(224),
    "efficientnet": Resize(224),
    "swav": Resize(224),
    "segmentation": Resize(512, "bicubic"),
    "dreamsim": Resize(224, "bicubic"),
}

PROTOCOLS: dict[str, Protocol] = {
    "dynadiff": Protocol(
        stimulus=(Resize(512),),
        reconstruction=(Resize(512),),
        inputs=_PIL_INPUTS,
        ssim="image",
        efficientnet="IMAGENET1K_V1",
    ),
    "brain_diffuser": Protocol(
        stimulus=(),
        reconstruction=(),
        inputs=_PIL_INPUTS,
        ssim="columns",
        efficientnet="IMAGENET1K_V1",
    ),
    "mindeye": Protocol(
        stimulus=(_torch(256),),
        reconstruction=(_torch(256),),
        inputs={
            "pixels": _torch(425),
            "alexnet": _torch(256),
            "clip": _torch(224),
            "inception": _torch(342),
            "efficientnet": _torch(255),
            "swav": _torch(224),
            "segmentation": _torch(512),
            "dreamsim": _torch(224),
        },
        ssim="image",
        efficientnet="IMAGENET1K_V2",
    ),
}
"""``dynadiff`` follows the paper's public evaluation code; its text says 224 px throughout. There
stimuli are resized from 425 to 512 px and reconstructions have 512: one of another size is brought
to 512 too, so that both are smoothed alike and a perfect copy scores as one.
MindEye and Brain-Diffuser have neither mIoU nor DreamSim: there, those sizes are Dynadiff's."""


def resize(images: np.ndarray, steps: tuple[Resize, ...]) -> np.ndarray:
    """Resize images step by step.

    Parameters
    ----------
    images : array [n, height, width, 3]
        uint8, or float in 0..1 if no step uses PIL.
    steps : tuple of Resize

    Returns
    -------
    array [n, px, px, 3]
        uint8 after PIL, float32 in 0..1 after torch.
    """
    for step in steps:
        if images.shape[1:3] != (step.px, step.px):
            images = (
                _resize_pil(images, step) if step.library == "pil" else _resize_torch(images, step)
            )
    return images


def _resize_pil(images: np.ndarray, step: Resize) -> np.ndarray:
    from PIL import Image

    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    size = (step.px, step.px)
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize(size, filters[step.interpolation]))
            for image in images
        ]
    )


def _resize_torch(images: np.ndarray, step: Resize) -> np.ndarray:
    import torch

    channels_first = torch.from_numpy(unit_range(images)).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        channels_first,
        size=(step.px, step.px),
        mode=step.interpolation,
        align_corners=False,
        antialias=step.antialias,
    )
    return resized.permute(0, 2, 3, 1).numpy()
