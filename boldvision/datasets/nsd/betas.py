"""The `betas` stage: single-trial responses of one session -> a series of one sample per trial."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from boldvision.cli import settings_from
from boldvision.config import Betas
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import TRIALS_PER_SESSION
from boldvision.errors import FETCH_AGAIN
from boldvision.files import atomic
from boldvision.hdf5 import open_hdf5, plain_dataset
from boldvision.signal.region import Voxels
from boldvision.signal.session import finite
from boldvision.signal.volumes import open_volumes, read_region, require, require_signal

SCALE = 300
"""Stored units per percent signal change (NSD Data Manual, betas)."""


def prepare_betas(
    path: Path, voxels: Voxels, preprocessing: Betas, out: Path, quality: Path
) -> None:
    """Z-score the betas of one session, voxel by voxel over its trials (paper, Table 4).

    Parameters
    ----------
    path
        The session's betas, either file of the bucket.
    voxels
        Which voxels.
    preprocessing
        The type on disk.
    out
        ``.npy`` [750, 1, voxels], trials in order of presentation.
    quality
        JSON: voxels that are `constant`, of which the clean series is zero; `mean` over trials and
        voxels and `std` over trials, median over voxels, both in percent signal change.

    Raises
    ------
    UserError
        The file is not what :func:`read_betas` expects.
    """
    series = read_betas(path, voxels)
    mean, std = zscore(series)
    report = {
        "file": path.name,
        "trials": len(series),
        "constant": int(np.sum(std == 0)),
        "mean": float(mean.mean()),
        "std": float(np.median(std)),
    }
    with atomic(quality) as quality_part, atomic(out) as part:
        with part.open("wb") as file:
            np.save(file, finite(path.name, series, preprocessing.dtype)[:, None])
        quality_part.write_text(json.dumps(report, indent=1) + "\n")


def read_betas(path: Path, voxels: Voxels) -> np.ndarray:
    """Single-trial responses of some voxels.

    Parameters
    ----------
    path
        int16, 300 x percent signal change: NIfTI [X, Y, Z, 750], or HDF5 with dataset `betas`
        [750, Z, Y, X]. Neither is held in memory as a whole.
    voxels
        Which voxels, and the grid that the file must have.

    Returns
    -------
    float32 [750, voxels], percent signal change

    Raises
    ------
    UserError
        The file is missing or damaged, its grid, type or number of trials are others, or every
        voxel of interest is zero throughout.
    """
    read = _read_hdf5 if path.suffix == ".hdf5" else _read_nifti
    series = read(path, voxels)
    series /= SCALE
    return series


def zscore(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each voxel of [trials, voxels] mean 0 and sample standard deviation 1, in place.

    A constant voxel becomes zeros.

    Returns
    -------
    mean, std : float64 [voxels]
        What they were; `std` of a constant voxel is exactly 0.
    """
    varies = series.max(axis=0) > series.min(axis=0)
    mean = series.mean(axis=0, dtype=np.float64)
    series -= mean.astype(np.float32)
    series[:, ~varies] = 0
    # The sum of squares about the mean, without a copy of the series in float64.
    squares = np.einsum("tv,tv->v", series, series, dtype=np.float64)
    std = np.sqrt(squares / (len(series) - 1))
    series /= np.where(varies, std, 1).astype(np.float32)
    return mean, std


def _read_nifti(path: Path, voxels: Voxels) -> np.ndarray:
    image = open_volumes(path, voxels)
    _require_trials(path, image.shape[3])
    return read_region(image, voxels, TRIALS_PER_SESSION)


def _read_hdf5(path: Path, voxels: Voxels) -> np.ndarray:
    """One slice of the brain at a time: a chunk is one voxel, and slices lie one after another."""
    x, y, z = np.unravel_index(voxels.index, voxels.shape)
    series = np.empty((TRIALS_PER_SESSION, len(z)), np.float32)
    with open_hdf5(path, "an HDF5 file with dataset `betas`", FETCH_AGAIN) as file:
        stored = plain_dataset(file, "betas", np.int16, (None,) * 4)
        trials, *grid = stored.shape
        require(path, tuple(grid[::-1]) == voxels.shape, "grid", voxels.shape, grid[::-1])
        _require_trials(path, trials)
        for level in np.unique(z):
            here = np.flatnonzero(z == level)
            (left, right), (back, front) = _extent(x[here]), _extent(y[here])
            box = stored[:, level, back:front, left:right]
            series[:, here] = box[:, y[here] - back, x[here] - left]
    require_signal(path, series)
    return series


def _extent(positions: np.ndarray) -> tuple[int, int]:
    return int(positions.min()), int(positions.max()) + 1


def _require_trials(path: Path, found: int) -> None:
    require(path, found == TRIALS_PER_SESSION, "trials", TRIALS_PER_SESSION, found)


def main(argv: list[str]) -> None:
    """Prepare the betas of one session."""
    parser = argparse.ArgumentParser(prog="boldvision betas", description=__doc__)
    parser.add_argument("--betas", type=Path, required=True, help="folder of the session's betas")
    parser.add_argument("--voxels", type=Path, required=True, help=".npz of the `voxels` stage")
    parser.add_argument("--subject", required=True, help="name, as in subj01")
    parser.add_argument("--session", type=int, required=True, help="1-based")
    parser.add_argument("--settings", required=True, help="JSON with key `preprocessing`")
    parser.add_argument("--out", type=Path, required=True, help=".npy [750, 1, voxels]")
    parser.add_argument("--quality", type=Path, required=True, help="JSON")
    arguments = parser.parse_args(argv)

    preprocessing = Betas(**settings_from(arguments.settings)["preprocessing"])
    key = keys.betas(arguments.subject, arguments.session, preprocessing.betas, preprocessing.file)
    prepare_betas(
        arguments.betas / Path(key).name,
        Voxels.load(arguments.voxels),
        preprocessing,
        arguments.out,
        arguments.quality,
    )
