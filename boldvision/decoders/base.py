"""The contract of a decoder.

A decoder is a package ``boldvision.decoders.<name>`` with the modules

``settings``
    with a class ``Run``, a :class:`boldvision.config.BaseRun`.
``stages``
    with ``STAGES``: what each stage of its training does, by name, in their order. Stage ``fit`` is
    a module ``fit`` with ``main(job)``, a :class:`Job`; it writes what it makes to ``job.out``. A
    stage goes on from its checkpoint if no stage before it has changed; where it reads fewer of
    them, ``AFTER = {"low_level": []}`` says which, and those are inputs of its rule.
``decoder``
    with ``load(model)``, from a :class:`Trained` to a :class:`Decoder`; it imports nothing of the
    stages, so that a change of how pictures are made trains nothing again.
``cost``
    with ``training(run, sizes)`` and ``picture(run, sizes)``, see :mod:`boldvision.costs`.
``memory``
    of a decoder that trains by gradient, with ``held(run, sizes)``, see :mod:`boldvision.held`.

and the files ``rules.smk``, ``runs.yaml``, ``runs.tsv`` and ``README.md`` (CONTRIBUTING.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from boldvision.config import Generator, Preprocessing, Window
from boldvision.errors import UserError
from boldvision.files import reading, sha256
from boldvision.targets.base import target_digest
from boldvision.trials.windows import AveragedWindows, Windows, load_windows


@dataclass(frozen=True)
class SubjectData:
    """Where a subject's data are. What a decoder reads, its rule has as an input."""

    name: str
    trials: Path
    split: Path
    preprocessing: Preprocessing
    images: Path
    bold: Path
    targets: Mapping[str, Path]

    def contents(self, sessions: int | None = None) -> list[str]:
        """Digests that tell these data from others: of trials, split and the first `sessions`.

        A session's quality report (``session01.json``, the mean and tSNR of every run) stands for
        its series, which is hundreds of megabytes.
        """
        reports = sorted(self.bold.glob("session*.json"))
        return [sha256(path) for path in (self.trials, self.split, *reports[:sessions])]


@dataclass(frozen=True)
class Job:
    """What a stage of a decoder's training is asked for.

    Attributes
    ----------
    run : BaseRun
        Of the decoder's class ``Run``.
    data : list of SubjectData
        Whom to train on.
    window : Window
        What the decoder will see of a trial.
    generators : dict of str to Generator
        Those that the run names for the stage.
    networks : dict of str to BaseNetwork
        Likewise.
    seed : int
    model : Path
        Folder of the model; an earlier stage's folder is ``model / "fit"``.
    start : Path or None
        Folder of the model that ``run.pretrained`` names.
    out : Path
        Folder for what this stage makes.
    checkpoints : Path
        Folder to resume from; it stays the same while nothing that changes the model does.
    """

    run: Any
    data: Sequence[SubjectData]
    window: Window
    generators: Mapping[str, Generator]
    networks: Mapping[str, Any]
    seed: int
    model: Path
    start: Path | None
    out: Path
    checkpoints: Path

    def windows(self, subject: SubjectData) -> Windows | AveragedWindows:
        """Windows of a subject's training trials, of the sessions that the run asks for."""
        return load_windows(
            subject.bold,
            subject.trials,
            subject.split,
            self.window,
            subject.preprocessing,
            "train",
            sessions=self.run.sessions,
        )


@dataclass(frozen=True)
class Trained:
    """A trained model: its folder, and what is needed to make pictures with it.

    Attributes
    ----------
    run : BaseRun
    folder : Path
        With a folder of each stage.
    generators : dict of str to Generator
    networks : dict of str to BaseNetwork
    data : SubjectData
        Of the subject whose windows are decoded.
    seed : int
        Of what is random in a picture.
    device : str
    """

    run: Any
    folder: Path
    generators: Mapping[str, Generator]
    networks: Mapping[str, Any]
    data: SubjectData
    seed: int
    device: str


class Decoder(Protocol):
    """What reconstruction needs of a trained model."""

    label: str
    """What its weights are, shown wherever its results are shown; empty if as published."""

    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """Pictures, uint8 [B, H, W, 3], of BOLD windows [B, T, V].

        `keys` seed what is random in each picture, so it does not depend on its batch.
        """
        ...


class TransductiveDecoder(Decoder, Protocol):
    """A decoder that looks at all windows of a test set before it makes a picture of one."""

    def look_at(self, windows: Iterable[np.ndarray], subject: str) -> None:
        """Called for each test window with all its BOLD windows, in batches [B, T, V]."""
        ...


class LatentDecoder(Decoder, Protocol):
    """A decoder whose run names a :meth:`boldvision.config.BaseRun.latent_generator`.

    Test sets with ``stored: latents`` keep its latents, which the stage `evaluate` decodes.
    """

    def latents(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """What the generator's VAE decodes to the pictures of `reconstruct`, float [B, C, h, w]."""
        ...


def read_data(text: str, preprocessing: Preprocessing) -> list[SubjectData]:
    """Data of each subject, from JSON: the paths of `SubjectData` by subject.

    Raises
    ------
    UserError
        It is something else.
    """
    expected = "JSON: trials, split, images, bold and targets, by subject"
    with reading("--data", expected, "correct it"):
        return [
            SubjectData(
                name,
                Path(paths["trials"]),
                Path(paths["split"]),
                preprocessing,
                Path(paths["images"]),
                Path(paths["bold"]),
                {target: Path(path) for target, path in paths["targets"].items()},
            )
            for name, paths in json.loads(text).items()
        ]


def target_digests(names: Sequence[str], data: Sequence[SubjectData]) -> list[list[str]]:
    """The sha256 of targets of these names, for every subject.

    Raises
    ------
    UserError
        One is not given, missing or damaged.
    """
    for subject in data:
        if missing := set(names) - set(subject.targets):
            raise UserError(
                f"--data: {subject.name}: expected the target {min(missing)}, which the run names, "
                "found none; give its file"
            )
    return [[target_digest(subject.targets[name]) for name in names] for subject in data]


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
