"""NIfTI-1 files, read once from front to back: the header, every volume, and nothing after them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

HEADER_BYTES = 348

LARGEST_EXTENSION = 1 << 24
"""Bytes between the header and the first volume, at most: more is a damaged header."""

LARGEST_VOLUME = 1 << 30
"""Bytes of one volume, at most."""

UNITS = {
    "sec": ("s", 1.0),
    "msec": ("ms", 1e-3),
    "usec": ("us", 1e-6),
    "unknown": ("s (no unit given)", 1.0),
}
"""Units of time as nibabel names them: sign, and seconds; where none is given, these are meant."""


class Nifti:
    """A NIfTI-1 file, compressed or not; its volumes stay on disk.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        As stored.
    affine : float64 [4, 4]
        Voxel to millimetres.
    slope, inter : float
        A value is ``slope * stored + inter``.
    tr_s : float
        Sampling period, s; NaN without one, or where its unit is not one of time.
    tr_stored : str
        The same as the header has it, with its unit.

    Raises
    ------
    OSError, EOFError, ValueError and others
        The header is not one of NIfTI-1, or no volumes can have it: to be called within
        `boldvision.files.reading`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as stream:
            block = stream.read(HEADER_BYTES)
        if len(block) < HEADER_BYTES:
            raise EOFError(f"only {len(block)} bytes")
        header = nib.Nifti1Header(block)
        self.shape: tuple[int, ...] = tuple(map(int, header.get_data_shape()))
        self.dtype: np.dtype = header.get_data_dtype()
        self.affine = np.asarray(header.get_best_affine(), np.float64)
        slope, inter = header.get_slope_inter()
        self.slope: float = 1.0 if slope is None else slope
        self.inter: float = 0.0 if slope is None else inter
        tr = float(header.get_zooms()[3]) if len(self.shape) > 3 else np.nan
        unit = header.get_xyzt_units()[1]
        sign, seconds = UNITS.get(unit, (unit, np.nan))
        self.tr_s, self.tr_stored = tr * seconds, f"{tr:.4f} {sign}"
        self._offset = header.get_data_offset()
        self._check(bytes(header["magic"]))

    def volumes(self) -> Iterator[np.ndarray]:
        """Each volume as stored, flat, X fastest, read-only.

        When all are taken, the file has been read to its end, where gzip verifies its checksum.

        Raises
        ------
        OSError, EOFError, ValueError and others
            The file is truncated or corrupt, or goes on after its volumes.
        """
        count, size = int(np.prod(self.shape[3:])), self._volume_bytes()
        with self._open() as stream:
            stream.seek(self._offset)
            for number in range(1, count + 1):
                volume = stream.read(size)
                if len(volume) != size:
                    raise EOFError(f"it ends in volume {number} of {count}")
                yield np.frombuffer(volume, self.dtype)
            if stream.read(1):
                raise ValueError(f"more bytes after its {count} volumes")

    def scale(self, series: np.ndarray) -> None:
        """Scale stored values, float32, by slope and intercept, in place.

        Raises
        ------
        ValueError
            Some are not finite then.
        """
        if (self.slope, self.inter) == (1, 0):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            series *= self.slope
            series += self.inter
        if not np.isfinite(series).all():
            raise ValueError(f"values beyond float32 (slope {self.slope:g}, inter {self.inter:g})")

    def _open(self) -> igzip.IGzipFile | io.BufferedReader:
        return igzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")

    def _volume_bytes(self) -> int:
        return int(np.prod(self.shape[:3], dtype=object)) * self.dtype.itemsize

    def _check(self, magic: bytes) -> None:
        """Whether volumes can be read with this header, before any memory is taken for them."""
        if magic.rstrip(b"\0") != b"n+1":
            raise ValueError(f"another format, {magic!r}")
        if len(self.shape) < 3 or min(self.shape) < 1 or self.dtype.kind not in "iuf":
            raise ValueError(f"{self.dtype} of shape {self.shape}")
        if self._volume_bytes() > LARGEST_VOLUME:
            raise ValueError(f"volumes of {self._volume_bytes()} bytes")
        extension = self._offset - HEADER_BYTES - 4
        if not 0 <= extension <= LARGEST_EXTENSION:
            raise ValueError(f"volumes that begin at byte {self._offset}")
        if not np.isfinite(self.affine).all() or np.linalg.matrix_rank(self.affine) < 4:
            raise ValueError(f"the affine {self.affine.tolist()}")
