"""Training windows as the samples of a regression, and targets as what it predicts of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from boldvision.decoders.base import read_finite
from boldvision.decoders.brain_diffuser.dual import HELD, ROWS, slices
from boldvision.decoders.brain_diffuser.settings import Ridge
from boldvision.targets.base import TargetFile
from boldvision.trials.windows import AveragedWindows, Windows

ARRAYS = {"latents": "latents", "image_tokens": "tokens", "text_tokens": "tokens"}
"""Of the file of a target, by what the run calls it."""


class Moments(NamedTuple):
    """Mean and standard deviation of each of some columns."""

    mean: torch.Tensor
    std: torch.Tensor


class Examples:
    """Features of training windows, read in blocks.

    Parameters
    ----------
    windows : Windows
    settings : Ridge
        Whether to average the windows of an image, and what features a window has.
    subject : str

    Attributes
    ----------
    image_id : ndarray of int64, [images]
        Of the images that were seen, sorted.
    member : Tensor of int64, [n]
        Which of them each sample is of.
    """

    def __init__(self, windows: Windows | AveragedWindows, settings: Ridge, subject: str):
        if settings.examples == "image_means" and isinstance(windows, Windows):
            windows = windows.averaged()
        self.windows = windows
        self.settings, self.subject = settings, subject
        ids = self.windows.trials["image_id"].to_numpy()
        self.image_id, member = np.unique(ids, return_inverse=True)
        self.member = torch.from_numpy(member)

    def __len__(self) -> int:
        return len(self.windows)

    def features(self, rows: slice) -> torch.Tensor:
        """Of these samples, float32 [rows, D]."""
        return features(read_finite(self.windows, rows, self.subject), self.settings)

    def moments(self) -> Moments:
        """Of each feature, float64 [D]; the deviation is 1 where features are not divided by it.

        As published, the unbiased one. One pass, by the pairwise formula of Chan et al. (1983).
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for rows in slices(len(self), ROWS):
            block = self.features(rows).double()
            step, total = block.mean(0) - mean, count + len(block)
            squares = squares + (block - block.mean(0)).square().sum(0)
            squares += step.square() * (count * len(block) / total)
            mean, count = mean + step * (len(block) / total), total
        std = (squares / max(1, count - 1)).sqrt()
        divided = (std > 0) & self.settings.standardize
        return Moments(mean, torch.where(divided, std, 1.0))


@dataclass(frozen=True)
class Centred:
    """Features of examples, centred and scaled, float64 on `device`: ``centred(slice)``."""

    examples: Examples
    moments: Moments
    device: str

    def __call__(self, rows: slice) -> torch.Tensor:
        """Of samples, [rows, D]."""
        return self.of(self.examples.features(rows))

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Of other windows' features [N, D]."""
        mean, std = (value.to(self.device) for value in self.moments)
        return values.to(self.device, torch.float64).sub_(mean).div_(std)


class Targets:
    """A target: of each image that was seen what is predicted of it, [images, dimensions].

    Parameters
    ----------
    path : Path
    key : str
        What the run calls it.
    image_id : ndarray of int64, [images]
    """

    def __init__(self, path: Path, key: str, image_id: np.ndarray):
        file = TargetFile(path)
        self._values = file[ARRAYS[key]].reshape(len(file.image_id), -1)
        self._rows = file.rows(image_id)
        self.dimensions = self._values.shape[1]

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Some dimensions, and their values, [images, some]."""
        for some in slices(self.dimensions, max(1, HELD // len(self._rows))):
            yield some, torch.from_numpy(self._values[self._rows, some])


def features(windows: np.ndarray, settings: Ridge) -> torch.Tensor:
    """Of windows [B, T, V]: all their samples, [B, T V], or the mean over time, [B, V]."""
    values = torch.from_numpy(windows)
    return values.flatten(1) if settings.time == "flatten" else values.mean(1)
