"""The experiment's design: which image was shown when."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boldvision.config import Design
from boldvision.datasets.nsd.runs import (
    TASK_RUNS,
    TRIALS_EVEN_RUN,
    TRIALS_ODD_RUN,
    TRIALS_PER_SESSION,
    VOLUMES,
    trials_in_run,
)
from boldvision.errors import FETCH_AGAIN, UserError
from boldvision.files import reading

REPETITIONS = 3
"""Presentations of every image."""

SUBJECTS = 8

SLOTS = 75
"""Four-second slots of a task run; slot q starts at design row 3 q."""

ROWS_PER_SLOT = VOLUMES // SLOTS

LARGEST_EXPDESIGN = 1 << 26
"""Bytes of nsd_expdesign.mat, packed or not, at most."""

LARGEST_RUN_DESIGN = 1 << 14
"""Bytes of a run's design, at most."""

MAT_HEADER_BYTES, MAT_COMPRESSED = 128, 15
"""Of the .mat format, version 5: length of the header, type of a compressed element."""


@dataclass(frozen=True)
class ExperimentDesign:
    """Contents of nsd_expdesign.mat (NSD Data Manual, Experiments).

    Attributes
    ----------
    masterordering_1based
        int64 [trials]: trial t of every subject shows column ``masterordering_1based[t] - 1`` of
        `subject_image_ids`.
    subject_image_ids
        int64 [8 subjects, images of a subject]: image_id (1-based).
    shared_image_ids
        int64 [shared images]: image_id (1-based) of the images that every subject sees.
    stimpattern
        int64 [sessions, 12 task runs, 75 slots]: 1 where a trial starts.
    """

    masterordering_1based: np.ndarray
    subject_image_ids: np.ndarray
    shared_image_ids: np.ndarray
    stimpattern: np.ndarray


def read_experiment_design(path: str | Path, design: Design) -> ExperimentDesign:
    """Read nsd_expdesign.mat and assert what the analysis relies on.

    Raises
    ------
    UserError
        The file is not the one described by `design`: its sha256 or a shape differs, an image is
        not shown three times, a run has the wrong number of trials, or images that should be
        shared are not.
    """
    with reading(path, "nsd_expdesign.mat", FETCH_AGAIN):
        content = _matlab(Path(path), design.expdesign_sha256)
        # The file stores unsigned integers, whose differences wrap.
        fields = {
            name: np.asarray(content[name]).astype(np.int64)
            for name in ("masterordering", "subjectim", "sharedix", "stimpattern")
        }
    experiment = ExperimentDesign(
        masterordering_1based=fields["masterordering"].ravel(),
        subject_image_ids=fields["subjectim"],
        shared_image_ids=fields["sharedix"].ravel(),
        stimpattern=fields["stimpattern"],
    )
    for fault in _faults(experiment, design):
        raise UserError(f"{path}: {fault}; {FETCH_AGAIN}, or correct `design` in the configuration")
    return experiment


def image_sequence(design: ExperimentDesign, subject_number: int, sessions: int) -> np.ndarray:
    """image_id of each trial of a subject's first sessions, in order of presentation.

    Parameters
    ----------
    design
        The experiment.
    subject_number
        1-based.
    sessions
        Number of sessions, from the first.

    Returns
    -------
    numpy.ndarray
        int64 [750 x sessions].

    Raises
    ------
    UserError
        The experiment has fewer sessions.
    """
    if sessions > len(design.stimpattern):
        raise UserError(
            f"subject {subject_number}: the configuration has {sessions} sessions, "
            f"nsd_expdesign.mat {len(design.stimpattern)}; correct `subjects`"
        )
    order = design.masterordering_1based[: sessions * TRIALS_PER_SESSION]
    return design.subject_image_ids[subject_number - 1, order - 1]


def read_run_design(path: str | Path) -> np.ndarray:
    """Design of one run: image_id in the row where an image appears, else 0.

    Returns
    -------
    numpy.ndarray
        int64 [225]; one row per volume, every 4/3 s. All zeros in a rest run.

    Raises
    ------
    UserError
        Not 225 non-negative integers, an onset between slots, or a number of trials that is
        neither 63, 62 nor 0.
    """
    expected = f"{VOLUMES} lines of one integer each"
    with reading(path, expected, FETCH_AGAIN):
        size = Path(path).stat().st_size
        if size > LARGEST_RUN_DESIGN:
            raise ValueError(f"{size} bytes")
        rows = np.array(Path(path).read_text("ascii").split(), dtype=np.int64)
    fault = _run_fault(rows)
    if fault is not None:
        raise UserError(f"{path}: {fault}; {FETCH_AGAIN}")
    return rows


def _run_fault(rows: np.ndarray) -> str | None:
    """What is wrong with the rows of a run, in words."""
    if rows.shape != (VOLUMES,):
        return f"expected {VOLUMES} lines, found {len(rows)}"
    if rows.min() < 0:
        return f"expected image ids and zeros, found {rows.min()}"
    onsets = np.flatnonzero(rows)
    if (onsets % ROWS_PER_SLOT).any():
        return f"expected onsets in every third row, found rows {onsets.tolist()}"
    if len(onsets) not in (TRIALS_ODD_RUN, TRIALS_EVEN_RUN, 0):
        return f"expected 63 or 62 trials, or 0 at rest, found {len(onsets)}"
    return None


def _matlab(path: Path, expected_sha256: str | None) -> dict[str, np.ndarray]:
    """Variables of a .mat file (version 5) that is the pinned one, or small once unpacked."""
    import scipy.io

    size = path.stat().st_size
    if size > LARGEST_EXPDESIGN:
        raise ValueError(f"{size} bytes")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if expected_sha256 is not None and found != expected_sha256:
        raise UserError(
            f"{path}: expected sha256 {expected_sha256}, found {found}; "
            f"{FETCH_AGAIN}, or set design.expdesign_sha256"
        )
    _require_small(content)
    return scipy.io.loadmat(io.BytesIO(content))


def _require_small(content: bytes) -> None:
    """Raise ValueError if the variables of a .mat file unpack to more than such a file holds."""
    order = "<" if content[126:128] == b"IM" else ">"
    unpacked, place = 0, MAT_HEADER_BYTES
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        place += 8 + size
        if kind == MAT_COMPRESSED:
            packed = content[place - size : place]
            unpacked += len(zlib.decompressobj().decompress(packed, LARGEST_EXPDESIGN + 1))
        if unpacked > LARGEST_EXPDESIGN:
            raise ValueError(f"more than {LARGEST_EXPDESIGN} bytes once unpacked")


def _faults(experiment: ExperimentDesign, design: Design) -> list[str]:
    """What is wrong with an experiment, in words; shapes first, since the rest relies on them."""
    order, images = experiment.masterordering_1based, experiment.subject_image_ids
    shared, pattern = experiment.shared_image_ids, experiment.stimpattern
    sessions = len(pattern)
    shapes = {
        "masterordering": (order.shape, (sessions * TRIALS_PER_SESSION,)),
        "subjectim": (images.shape, (SUBJECTS, design.images_per_subject)),
        "sharedix": (shared.shape, (design.shared_images,)),
        "stimpattern": (pattern.shape, (sessions, TASK_RUNS, SLOTS)),
    }
    faults = [
        f"{name}: expected shape {expected}, found {found}"
        for name, (found, expected) in shapes.items()
        if found != expected
    ]
    if faults:
        return faults
    private = images[:, design.shared_images :]
    trials = [trials_in_run(run) for run in range(1, TASK_RUNS + 1)]
    values, counts = np.unique(order, return_counts=True)
    right = {
        f"masterordering: expected 1 to {design.images_per_subject}, each {REPETITIONS} times": (
            np.array_equal(values, np.arange(1, design.images_per_subject + 1))
            and (counts == REPETITIONS).all()
        ),
        f"subjectim: expected image ids from 1 to {design.images}": (
            images.min() >= 1 and images.max() <= design.images
        ),
        "subjectim: expected the shared images first, in the order of sharedix": (
            (images[:, : design.shared_images] == shared).all()
        ),
        "subjectim: expected private images that no other subject sees": (
            len(np.unique(private)) == private.size and not np.isin(private, shared).any()
        ),
        "sharedix: expected increasing image ids": (np.diff(shared) > 0).all(),
        "stimpattern: expected 63 trials in odd and 62 in even runs": (
            np.isin(pattern, (0, 1)).all() and (pattern.sum(axis=2) == trials).all()
        ),
    }
    return [fault for fault, holds in right.items() if not holds]
