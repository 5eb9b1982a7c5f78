"""Volumes in MNI space, or pairs of GIFTI files -> series of the vertices of fsaverage5."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.sparse import csr_array

from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.nifti import Nifti
from boldvision.signal.gifti import read_arrays

VERTICES = 20484
"""Vertices of fsaverage5: 10,242 left, then 10,242 right."""

DEPTHS = 10
"""Points between the pial and the white surface whose values are averaged, as nilearn does."""

AGAIN = "replace it, or run fMRIPrep again"


def read_volumes(path: Path, volumes: int) -> np.ndarray:
    """Series of fsaverage5's vertices, sampled from one run of volumes in MNI space.

    Equals ``nilearn.surface.vol_to_surf(image, pial, inner_mesh=white)`` of both hemispheres. The
    file is read once, from front to back, with one volume in memory.

    Parameters
    ----------
    path
        NIfTI-1 file [X, Y, Z, volumes].
    volumes
        How many there must be.

    Returns
    -------
    float32 [volumes, 20484], raw units
        Left, then right. NaN where a vertex lies outside the volumes altogether.

    Raises
    ------
    UserError
        The file is missing, truncated or corrupt, has another number of volumes, a value that is
        not finite, or no signal at any vertex.
    """
    with reading(path, "a NIfTI file of volumes", AGAIN):
        image = Nifti(path)
    require(path, len(image.shape) == 4, "dimensions", 4, len(image.shape))
    require(path, image.shape[3] == volumes, "volumes", volumes, image.shape[3])
    sampled, weights = sampling_weights(image.shape[:3], tuple(image.affine.ravel().tolist()))
    series = np.empty((volumes, VERTICES), np.float32)
    with reading(path, f"{volumes} whole volumes", AGAIN):
        for row, volume in enumerate(image.volumes()):
            finite = bool(np.isfinite(volume).all())
            require(path, finite, "finite values", "in all volumes", f"others in volume {row + 1}")
            series[row] = weights @ volume[sampled].astype(np.float64)
        _require_signal(path, series)
        image.scale(series)
    series[:, np.diff(weights.indptr) == 0] = np.nan
    return series


def read_hemispheres(left: Path, right: Path, volumes: int) -> np.ndarray:
    """Series of fsaverage5's vertices as fMRIPrep's own projection wrote them.

    Parameters
    ----------
    left, right
        GIFTI files of one array of 10,242 values per volume.
    volumes
        How many there must be.

    Returns
    -------
    float32 [volumes, 20484], raw units

    Raises
    ------
    UserError
        A file is missing or corrupt, has another number of volumes or vertices, no signal, or a
        vertex that is finite in some volumes only.
    """
    sides = []
    for path in (left, right):
        side = np.empty((volumes, VERTICES // 2), np.float32)
        with reading(path, f"a GIFTI file of {volumes} arrays of {VERTICES // 2} values", AGAIN):
            count = 0
            for count, array in enumerate(read_arrays(path, VERTICES // 2), start=1):
                if count <= volumes:
                    side[count - 1] = array
        require(path, count == volumes, "volumes", volumes, count)
        whole = bool((np.isfinite(side).all(axis=0) | np.isnan(side).all(axis=0)).all())
        require(path, whole, "vertices", "finite or NaN in all volumes", "some in between")
        _require_signal(path, side)
        sides.append(side)
    return np.concatenate(sides, axis=1)


@lru_cache(maxsize=2)
def sampling_weights(
    grid: tuple[int, int, int], affine: tuple[float, ...]
) -> tuple[np.ndarray, csr_array]:
    """Voxels and their weights for trilinear sampling between fsaverage5's pial and white surfaces.

    Parameters
    ----------
    grid
        Shape of the volumes.
    affine
        Their 4 x 4 affine to MNI space, mm, row by row.

    Returns
    -------
    voxels : int64 [voxels]
        Increasing positions in a volume in NIfTI's order, X fastest.
    weights : float64 [20484, voxels]
        Points outside the volumes do not count; a row is empty where all of a vertex's points are
        outside.
    """
    pial, white = fsaverage5()
    depth = np.linspace(0, 1, DEPTHS)[:, None, None]
    points = pial + depth * (white - pial)
    place = nib.affines.apply_affine(np.linalg.inv(np.reshape(affine, (4, 4))), points)
    inside = ((place >= 0) & (place < grid)).all(axis=-1)
    _, vertex = np.nonzero(inside)
    place = place[inside]
    # Beyond the centre of the last voxel it extrapolates from the last two, as nilearn does.
    below = np.clip(np.floor(place).astype(np.int64), 0, np.array(grid) - 2)
    above = place - below
    share = 1 / inside.sum(axis=0)[vertex]
    weights = csr_array((VERTICES, int(np.prod(grid))))
    for corner in np.ndindex(2, 2, 2):
        voxel = np.ravel_multi_index(tuple((below + corner).T), grid, order="F")
        weight = share * np.where(corner, above, 1 - above).prod(axis=1)
        weights += csr_array((weight, (vertex, voxel)), shape=weights.shape)
    voxels = np.unique(weights.indices)
    return voxels, weights[:, voxels]


@cache
def fsaverage5() -> tuple[np.ndarray, np.ndarray]:
    """Pial and white vertices of the mesh that is packaged with nilearn, [20484, 3], mm."""
    from nilearn.datasets import load_fsaverage

    meshes = load_fsaverage("fsaverage5")
    pial, white = (
        np.concatenate([meshes[name].parts[side].coordinates for side in ("left", "right")])
        for name in ("pial", "white_matter")
    )
    return pial.astype(np.float64), white.astype(np.float64)


def require(path: Path, ok: bool, what: str, expected: object, found: object) -> None:
    """Raise UserError, which names the file, unless `ok`."""
    if not ok:
        raise UserError(f"{path}: expected {what} {expected}, found {found}; {AGAIN}")


def _require_signal(path: Path, series: np.ndarray) -> None:
    signal = (np.abs(series) > 0).any()  # NaN is not
    require(path, bool(signal), "signal on fsaverage5", "at some vertex", "only zeros")
