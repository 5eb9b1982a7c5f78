"""Predicts the mean training image, whatever the BOLD: the floor of a comparison of decoders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from boldvision import config
from boldvision.decoders.base import SubjectData
from boldvision.generators.images import to_tensor, to_uint8
from boldvision.nsd.images import ImageStack


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
        trials = pd.read_parquet(subject.trials)
        ids = trials.loc[trials[f"split_{run.split}"] == "train", "image_id"]
        images = ImageStack(subject.need("images"))
        for image_id, repetitions in ids.value_counts(sort=False).sort_index().items():
            picture = to_tensor(images.read(np.array([image_id])), run.image_px)[0]
            total += repetitions * picture.double()
        count += len(ids)
    save_file({"mean_image": (total / count).float()}, out / "model.safetensors")
    (out / "training.json").write_text(json.dumps({"trials": count}, indent=2))


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
    return MeanImage(load_file(folder / "model.safetensors")["mean_image"])
