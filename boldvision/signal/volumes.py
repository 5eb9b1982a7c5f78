"""One run of volumes -> raw series of the voxels of interest, one volume in memory at a time."""

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
    image = _load(path)
    _check_header(path, image, voxels)
    stored: Any = image.dataobj
    series = np.empty((VOLUMES, len(voxels.index)), np.float32)
    try:
        with nib.openers.ImageOpener(str(path)) as stream:
            _read_series(stream, stored, voxels, series)
    except DAMAGE as error:
        raise UserError(
            f"{path}: expected {image.shape[3]} whole volumes, found a truncated or corrupt file "
            f"({error}); {AGAIN}"
        ) from error
    if not series.any():
        raise UserError(
            f"{path}: expected signal in the region of interest, found only zeros in its "
            f"{series.shape[1]} voxels; {AGAIN}, or check that the region is this subject's"
        )
    if (stored.slope, stored.inter) != (1, 0):
        series *= stored.slope
        series += stored.inter
    return series


def _load(path: Path) -> nib.Nifti1Image:
    """The image's header; the volumes stay on disk."""
    try:
        return nib.Nifti1Image.from_filename(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: expected a run of volumes, found no file; download it") from error
    except DAMAGE as error:
        raise UserError(f"{path}: expected a NIfTI file, found {error}; {AGAIN}") from error


def _check_header(path: Path, image: nib.Nifti1Image, voxels: Voxels) -> None:
    """Raise UserError unless the header is that of a run on the grid of `voxels`."""

    def require(ok: bool, what: str, expected: object, found: object) -> None:
        if not ok:
            raise UserError(
                f"{path}: expected {what} {expected}, found {found}; check that it is a func1pt8mm "
                f"run of the subject whose voxels these are, or {AGAIN}"
            )

    shape, dtype, grid = image.shape, image.get_data_dtype(), tuple(map(int, voxels.shape))
    require(len(shape) == 4, "dimensions", 4, len(shape))
    require(shape[:3] == grid, "grid", grid, shape[:3])
    require(
        VOLUMES <= shape[3] <= FILE_VOLUMES,
        "volumes",
        f"{FILE_VOLUMES} (or {VOLUMES})",
        shape[3],
    )
    require(dtype.newbyteorder("=") == np.int16, "type", "int16", dtype)
    tr_s = float(image.header.get_zooms()[3])
    require(abs(tr_s - TR_S) < 1e-3, "TR", f"{TR_S:.4f} s", f"{tr_s:.4f} s")
    require(
        np.allclose(image.affine, voxels.affine, atol=1e-3),
        "the region's affine",
        np.asarray(voxels.affine).tolist(),
        image.affine.tolist(),
    )


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
