"""Predicts the mean training image, whatever the BOLD: the floor of a comparison of decoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from boldvision import config
from boldvision.decoders.base import SubjectData
from boldvision.decoders.model_file import PARAMETERS, read_model, write_model
from boldvision.generators.images import to_tensor, to_uint8
from boldvision.images import ImageStack
from boldvision.parameters import load_parameters
from boldvision.trials.table import read_trials


def train(
    run: config.MeanImageRun,
    generator: None,
    data: Sequence[SubjectData],
    window: config.Window,
    seed: int,
    out: Path,
    checkpoints: Path,
    pretrained: Path | None,
) -> None:
    """Average the training images of all `data`, each counted once per trial."""
    total, count = torch.zeros(3, run.image_px, run.image_px, dtype=torch.float64), 0
    for subject in data:
        trials = read_trials(subject.trials, run.split)
        ids = trials.loc[trials[f"split_{run.split}"] == "train", "image_id"]
        images = ImageStack(subject.need("images"))
        for image_id, repetitions in ids.value_counts(sort=False).sort_index().items():
            picture = to_tensor(images.read(np.array([image_id])), run.image_px)[0]
            total += repetitions * picture.double()
        count += len(ids)
    write_model(out, {"mean_image": (total / count).float()}, {"trials": count})


class MeanImage:
    """The same picture for every window."""

    label = ""

    def __init__(self, picture: torch.Tensor):
        self.picture = to_uint8(picture[None])

    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.Decoder`."""
        return np.repeat(self.picture, len(windows), axis=0)


def load(
    run: config.MeanImageRun, generator: None, folder: Path, seed: int, device: str
) -> MeanImage:
    """Read a model that `train` wrote."""
    parameters, _ = read_model(folder)
    picture = torch.empty(3, run.image_px, run.image_px)
    load_parameters({"mean_image": picture}, parameters, folder / PARAMETERS)
    return MeanImage(picture)
