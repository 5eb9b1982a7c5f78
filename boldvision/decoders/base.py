"""The contract of a decoder.

A decoder is a package ``boldvision.decoders.<name>`` with a module ``decoder`` that has

``train(run, generator, data, window, seed, out, checkpoints, pretrained)``
    Fit on the training part of ``run.split`` and write the model to ``out`` by
    :func:`boldvision.decoders.model_file.write_model`. State to resume from goes to
    ``checkpoints``; ``pretrained`` is the model file that ``run.pretrained`` names, or `None`.
``load(run, generator, folder, seed, device)``
    A :class:`Decoder` from that folder.

`generator` is the configuration of the run's generator, or `None`.

Its rules are ``workflow/rules/decoders/<name>.smk``. `mean_image` is the smallest example.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from boldvision.config import Preprocessing
from boldvision.errors import UserError
from boldvision.files import sha256
from boldvision.trials.windows import AveragedWindows, Windows


@dataclass(frozen=True)
class SubjectData:
    """Where a subject's data are. A decoder asks for what it needs."""

    name: str
    trials: Path
    preprocessing: Preprocessing
    images: Path | None = None
    bold: Path | None = None
    latents: Path | None = None

    def contents(self, sessions: int | None = None) -> list[str]:
        """Digests that tell these data from others: of the trial table and the first `sessions`.

        A session's quality report (``session01.json``, the mean and tSNR of every run) stands for
        its series, which is hundreds of megabytes.
        """
        reports = sorted(self.bold.glob("session*.json")) if self.bold else []
        return [sha256(path) for path in (self.trials, *reports[:sessions])]

    def need(self, what: Literal["images", "bold", "latents"]) -> Path:
        """Path of `what`.

        Raises
        ------
        UserError
            It was not given.
        """
        path = getattr(self, what)
        if path is None:
            raise UserError(f"{self.name}: the decoder needs --{what}, which was not given; add it")
        return path


class Decoder(Protocol):
    """What reconstruction needs of a trained model."""

    label: str
    """What its weights are, shown wherever its results are shown; empty if as published."""

    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """Pictures, uint8 [B, H, W, 3], of BOLD windows [B, T, V].

        `keys` seed what is random in each picture, so it does not depend on its batch.
        """
        ...


def read_finite(
    windows: Windows | AveragedWindows, indices: np.ndarray | slice, subject: str
) -> np.ndarray:
    """Windows [B, T, V] of these positions.

    Raises
    ------
    UserError
        One holds a NaN or an infinity.
    """
    batch = windows[indices]
    if np.isfinite(batch).all():
        return batch
    bad = int(np.flatnonzero(~np.isfinite(batch).all(axis=(1, 2)))[0])
    shown = windows.trials.iloc[indices].iloc[bad]
    file = f"session{shown['session']:02d}.npy" if "session" in shown else "a session's file"
    raise UserError(
        f"{subject}: expected finite BOLD, found NaN or infinity in {file}, in the window of trial "
        f"{shown['trial']} (image {shown['image_id']}). Remove that file from the folder of clean "
        "series and run again to prepare it anew."
    )


def digest(*parts: object) -> str:
    """Names what a killed job left: only a job with equal `parts` (JSON values) goes on from it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def implementation(name: str):
    """Module ``boldvision.decoders.<name>.decoder``."""
    return importlib.import_module(f"boldvision.decoders.{name}.decoder")
