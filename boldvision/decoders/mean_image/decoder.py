"""Predicts the mean training image, whatever the BOLD: the floor of a comparison of decoders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.base import Trained
from boldvision.decoders.record import PARAMETERS
from boldvision.generators.images import to_uint8
from boldvision.parameters import load_parameters


class MeanImage:
    """The same picture for every window."""

    label = ""

    def __init__(self, picture: torch.Tensor):
        self.picture = to_uint8(picture[None])

    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.Decoder`."""
        return np.repeat(self.picture, len(windows), axis=0)


def load(model: Trained) -> MeanImage:
    """Read what stage `train` wrote."""
    folder = model.folder / "train"
    parameters, _ = read_artefact(folder)
    picture = torch.empty(3, model.run.image_px, model.run.image_px)
    load_parameters({"mean_image": picture}, parameters, folder / PARAMETERS)
    return MeanImage(picture)
