"""Small runs of volumes for the tests of the signal layer."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from boldvision.datasets.nsd.runs import FILE_VOLUMES, TR_S, VOLUMES
from boldvision.signal.region import Voxels
from boldvision.signal.volumes import read_masked

GRID = (6, 5, 4)
AFFINE = np.array([[1.8, 0, 0, -4], [0, 1.8, 0, -3], [0, 0, 1.8, -2], [0, 0, 0, 1.0]])
SHARED = Path(__file__).parents[2].parent / "shared"


def some_voxels() -> Voxels:
    return Voxels(np.array([1, 7, 30, 58, 111], np.int64), GRID, AFFINE)


def read_run(path: Path) -> np.ndarray:
    """What `read_masked` makes of a run of NSD."""
    return read_masked(path, some_voxels(), VOLUMES, FILE_VOLUMES, TR_S)


def random_volumes(n_volumes: int = 226, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (600 + 30 * random.standard_normal((*GRID, n_volumes))).astype(np.int16)


def write_run(
    path: Path, volumes: np.ndarray, affine: np.ndarray = AFFINE, tr_s: float = TR_S
) -> Path:
    image = nib.Nifti1Image(volumes, affine)
    image.header.set_zooms((1.8, 1.8, 1.8, tr_s)[: volumes.ndim])
    nib.save(image, path)
    return path


def write_large_run(path: Path, voxels: Voxels, series: np.ndarray) -> None:
    """Write int16 `series` [volumes, voxels] on the grid of `voxels`, zero elsewhere, quickly."""
    header = nib.Nifti1Header(endianness="<")
    header.set_data_shape((*voxels.shape, len(series)))
    header.set_data_dtype(np.int16)
    header.set_zooms((1.8, 1.8, 1.8, TR_S))
    header.set_sform(voxels.affine, 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    volume = np.zeros(voxels.shape, np.int16)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for values in series:
            volume.flat[voxels.index] = values
            file.write(volume.tobytes(order="F"))
