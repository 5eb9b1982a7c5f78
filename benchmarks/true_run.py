"""Simulated volumes of NSD's true size, as hard to decompress as real ones."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from boldvision.datasets.nsd.runs import TR_S
from boldvision.signal.region import Voxels

GRID = (81, 104, 83)
"""Of subj01, 1.8 mm."""

AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])
VOXELS = 15724
"""Voxels of subj01's nsdgeneral."""


MNI = (97, 115, 97)
"""Of fMRIPrep's MNI152NLin2009cAsym, 2 mm."""

MNI_AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
MNI_AFFINE[:3, 3] = -96, -132, -78


def write_volumes(
    path: Path,
    volumes: int,
    grid: tuple[int, int, int] = GRID,
    affine: np.ndarray = AFFINE,
    dtype: str = "<i2",
) -> None:
    """Volumes of a head: smooth noise over a smooth mean, in zeros.

    At subj01's grid each takes 0.42 MB once compressed, as those of NSD do.
    """
    random = np.random.default_rng(0)

    def smooth(sigma: float) -> np.ndarray:
        noise = gaussian_filter(random.standard_normal(grid, np.float32), sigma)
        return noise / noise.std()

    mean, noises, inside = 800 + 90 * smooth(2), [smooth(0.7) for _ in range(8)], head(grid)
    header = nib.Nifti1Header(endianness="<")
    header.set_data_shape((*grid, volumes))
    header.set_data_dtype(dtype)
    header.set_zooms((*np.abs(np.diag(affine))[:3], TR_S))
    header.set_xyzt_units("mm", "sec")
    header.set_sform(affine, 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for volume in range(volumes):
            noise = np.roll(noises[volume % len(noises)], volume, axis=2)
            values = np.where(inside, mean + 40 * noise, 0)
            file.write(values.astype(dtype).tobytes(order="F"))


def head(grid: tuple[int, int, int]) -> np.ndarray:
    """Which voxels are not zero: an ellipsoid, two fifths of all."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid), indexing="ij")
    return sum((axis / 0.92) ** 2 for axis in axes) < 1


@cache
def region() -> Voxels:
    """As many voxels as nsdgeneral has, at the back of the head."""
    back = head(GRID)
    back[:, GRID[1] // 3 :] = False
    return Voxels(np.flatnonzero(back)[-VOXELS:], GRID, AFFINE)
