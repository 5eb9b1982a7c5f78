"""Volumes in a file -> raw series of the voxels of interest, one volume in memory at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boldvision.errors import FETCH_AGAIN, UserError
from boldvision.files import reading
from boldvision.nifti import Nifti
from boldvision.signal.region import Voxels


def read_masked(
    path: str | Path, voxels: Voxels, volumes: int, file_volumes: int, tr_s: float
) -> np.ndarray:
    """Raw series of some voxels of one run.

    The file is decompressed once, from front to back; a whole volume is only ever held as int16.
    Volumes beyond those that are kept are read, so that the checksum is verified, and dropped.

    Parameters
    ----------
    path
        NIfTI-1 file, int16 [X, Y, Z, `file_volumes`], compressed or not.
    voxels
        Which voxels, and the grid and affine that the volumes must have.
    volumes
        Volumes to keep, from the first; a file may end with them.
    file_volumes
        Volumes of the file.
    tr_s
        Sampling period that the header must have, s.

    Returns
    -------
    float32 [volumes, voxels], raw units, scaled by the header's slope and intercept

    Raises
    ------
    UserError
        The file is missing, truncated or corrupt, its header is not that of such a run, or every
        voxel of interest is zero throughout.
    """
    image = open_volumes(Path(path), voxels)
    found = image.shape[3]
    whole = volumes <= found <= file_volumes
    require(image.path, whole, "volumes", f"{file_volumes} (or {volumes})", found)
    require(image.path, abs(image.tr_s - tr_s) < 1e-3, "TR", f"{tr_s:.4f} s", image.tr_stored)
    return read_region(image, voxels, volumes)


def open_volumes(path: Path, voxels: Voxels) -> Nifti:
    """Header of a file of int16 volumes on the grid of `voxels`; the volumes stay on disk.

    Raises
    ------
    UserError
        The file is missing or not NIfTI, or its dimensions, grid, type or affine are others.
    """
    with reading(path, "a NIfTI file of volumes", FETCH_AGAIN):
        image = Nifti(path)
    shape, dtype = image.shape, image.dtype
    require(path, len(shape) == 4, "dimensions", 4, len(shape))
    require(path, shape[:3] == voxels.shape, "grid", voxels.shape, shape[:3])
    require(path, dtype.newbyteorder("=") == np.int16, "type", "int16", dtype)
    require(
        path,
        np.allclose(image.affine, voxels.affine, atol=1e-3),
        "the region's affine",
        np.asarray(voxels.affine).tolist(),
        image.affine.tolist(),
    )
    return image


def require(path: Path, ok: bool, what: str, expected: object, found: object) -> None:
    """Raise UserError, which names the file, unless `ok`."""
    if not ok:
        raise UserError(
            f"{path}: expected {what} {expected}, found {found}; check that it is a file "
            f"of the subject whose voxels these are, or {FETCH_AGAIN}"
        )


def require_signal(path: Path, series: np.ndarray) -> None:
    """Raise UserError if every voxel of interest is zero throughout."""
    if not series.any():
        raise UserError(
            f"{path}: expected signal in the region of interest, found only zeros in its "
            f"{series.shape[1]} voxels; {FETCH_AGAIN}, or check that the region is this subject's"
        )


def read_region(image: Nifti, voxels: Voxels, rows: int) -> np.ndarray:
    """Series of the first `rows` volumes; the file is read to its end, where its checksum is.

    Parameters
    ----------
    image
        What :func:`open_volumes` returned.
    voxels
        Which voxels.
    rows
        Volumes to keep.

    Returns
    -------
    float32 [rows, voxels], scaled by the header's slope and intercept

    Raises
    ------
    UserError
        The file is truncated or corrupt, its scaling leaves values that are not finite, or every
        voxel of interest is zero throughout.
    """
    # NIfTI stores X fastest, `voxels.index` counts Z fastest.
    grid = image.shape[:3]
    place = np.ravel_multi_index(np.unravel_index(voxels.index, grid), grid, order="F")
    series = np.empty((rows, len(place)), np.float32)
    with reading(image.path, f"{image.shape[3]} whole volumes", FETCH_AGAIN):
        for row, volume in enumerate(image.volumes()):
            if row < rows:
                series[row] = volume[place]
        require_signal(image.path, series)
        image.scale(series)
    return series
