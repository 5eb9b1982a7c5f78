"""Volumes in a file -> raw series of the voxels of interest, one volume in memory at a time."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from boldvision.config import TR_S
from boldvision.errors import UserError
from boldvision.nsd.roi import Voxels
from boldvision.nsd.runs import FILE_VOLUMES, VOLUMES

DAMAGE = (
    EOFError,
    OSError,
    zlib.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)
"""What gzip and nibabel raise when a file is not what its name says."""

AGAIN = "delete it and download it again"


def read_masked(path: str | Path, voxels: Voxels) -> np.ndarray:
    """Raw series of some voxels of one run of func1pt8mm volumes.

    The file is decompressed once, from front to back; a whole volume is only ever held as int16.
    The sample after the design's last row is read, so that the checksum is verified, and dropped
    (NSD Data Manual, time series).

    Parameters
    ----------
    path
        NIfTI-1 file, int16 [X, Y, Z, 226], TR 4/3 s, compressed or not.
    voxels
        Which voxels, and the grid and affine that the volumes must have.

    Returns
    -------
    float32 [225, voxels], raw units, scaled by the header's slope and intercept

    Raises
    ------
    UserError
        The file is missing, truncated or corrupt, its header is not that of such a run, or every
        voxel of interest is zero throughout.
    """
    path = Path(path)
    image = open_volumes(path, voxels)
    found, tr_s = image.shape[3], float(image.header.get_zooms()[3])
    whole = VOLUMES <= found <= FILE_VOLUMES
    require(path, whole, "volumes", f"{FILE_VOLUMES} (or {VOLUMES})", found)
    require(path, abs(tr_s - TR_S) < 1e-3, "TR", f"{TR_S:.4f} s", f"{tr_s:.4f} s")
    return read_region(path, image, voxels, VOLUMES)


def open_volumes(path: Path, voxels: Voxels) -> nib.Nifti1Image:
    """Header of a file of int16 volumes on the grid of `voxels`; the volumes stay on disk.

    Raises
    ------
    UserError
        The file is missing or not NIfTI, or its dimensions, grid, type or affine are others.
    """
    try:
        image = nib.Nifti1Image.from_filename(path)
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: expected a file of volumes, found no file; download it"
        ) from error
    except DAMAGE as error:
        raise UserError(f"{path}: expected a NIfTI file, found {error}; {AGAIN}") from error
    shape, dtype = image.shape, image.get_data_dtype()
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
            f"{path}: expected {what} {expected}, found {found}; check that it is a func1pt8mm "
            f"file of the subject whose voxels these are, or {AGAIN}"
        )


def require_signal(path: Path, series: np.ndarray) -> None:
    """Raise UserError if every voxel of interest is zero throughout."""
    if not series.any():
        raise UserError(
            f"{path}: expected signal in the region of interest, found only zeros in its "
            f"{series.shape[1]} voxels; {AGAIN}, or check that the region is this subject's"
        )


def read_region(path: Path, image: nib.Nifti1Image, voxels: Voxels, rows: int) -> np.ndarray:
    """Series of the first `rows` volumes; the file is read to its end, where its checksum is.

    Parameters
    ----------
    path, image
        The file, and what :func:`open_volumes` found in it.
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
        The file is truncated or corrupt, or every voxel of interest is zero throughout.
    """
    stored: Any = image.dataobj
    series = np.empty((rows, len(voxels.index)), np.float32)
    try:
        with nib.openers.ImageOpener(str(path)) as stream:
            _read_series(stream, stored, voxels, series)
    except DAMAGE as error:
        raise UserError(
            f"{path}: expected {image.shape[3]} whole volumes, found a truncated or corrupt file "
            f"({error}); {AGAIN}"
        ) from error
    require_signal(path, series)
    if (stored.slope, stored.inter) != (1, 0):
        series *= stored.slope
        series += stored.inter
    return series


def _read_series(
    stream: nib.openers.Opener,
    stored: Any,
    voxels: Voxels,
    series: np.ndarray,
) -> None:
    """Fill `series` volume by volume, then read to the end, where gzip verifies its checksum."""
    *grid, n_volumes = stored.shape
    # NIfTI stores X fastest, `voxels.index` counts Z fastest.
    place = np.ravel_multi_index(np.unravel_index(voxels.index, grid), grid, order="F")
    buffer = bytearray(int(np.prod(grid)) * stored.dtype.itemsize)
    volume = np.frombuffer(buffer, stored.dtype)
    stream.seek(stored.offset)
    for row in range(n_volumes):
        if stream.readinto(buffer) != len(buffer):
            raise EOFError(f"it ends in volume {row + 1}")
        if row < len(series):
            series[row] = volume[place]
    stream.read(1)
