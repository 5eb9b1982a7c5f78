"""Voxels of a region of interest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boldvision.errors import UserError
from boldvision.files import atomic, reading

AGAIN = "fetch it again, or replace it in your copy of the bucket"


@dataclass(frozen=True)
class Voxels:
    """Voxels of a region, and where they lie.

    Attributes
    ----------
    index
        int64 [voxels]: increasing positions in the C-order (NumPy) flattened volume.
    shape
        Grid X, Y, Z of the volume.
    affine
        float64 [4, 4]: voxel to millimetres.
    """

    index: np.ndarray
    shape: tuple[int, int, int]
    affine: np.ndarray

    def save(self, path: str | Path) -> None:
        """Write to an ``.npz`` file."""
        with atomic(path) as part:
            np.savez(part, index=self.index, shape=np.array(self.shape), affine=self.affine)

    @classmethod
    def load(cls, path: str | Path) -> Voxels:
        """Read what `save` wrote.

        Raises
        ------
        UserError
            The file is missing, damaged or another one.
        """
        with (
            reading(path, "the voxels of a region", "run the stage `voxels` again"),
            np.load(path, allow_pickle=False) as content,
        ):
            x, y, z = content["shape"].tolist()
            voxels = cls(content["index"], (x, y, z), content["affine"])
            voxels._check()
        return voxels

    def _check(self) -> None:
        index, affine = self.index, self.affine
        if index.ndim != 1 or index.dtype != np.int64 or not len(index):
            raise ValueError(f"an index {index.dtype} {index.shape}")
        if (np.diff(index) <= 0).any() or index[0] < 0 or index[-1] >= np.prod(self.shape):
            raise ValueError(f"positions that do not increase within the grid {self.shape}")
        if affine.shape != (4, 4) or affine.dtype != np.float64 or not np.isfinite(affine).all():
            raise ValueError(f"the affine {affine.tolist()}")


def read_roi(path: str | Path, expected_voxels: int, expected_grid: tuple[int, int, int]) -> Voxels:
    """Voxels whose label is positive (-1 is outside cortex, 0 is unlabelled cortex).

    The header is checked before the labels are read, and no more is read than it says.

    Parameters
    ----------
    path
        NIfTI volume of labels.
    expected_voxels
        Voxels of the region.
    expected_grid
        Grid X, Y, Z of the volume.

    Raises
    ------
    UserError
        The file cannot be read, is damaged, or its grid or number of voxels is not the expected
        one.
    """
    from boldvision.nifti import Nifti

    with reading(path, "a NIfTI volume of labels", AGAIN):
        image = Nifti(path)
        if image.shape != tuple(expected_grid):
            raise UserError(
                f"{path}: expected grid {tuple(expected_grid)}, found {image.shape}; "
                f"correct `grid` of the subject, or {AGAIN}"
            )
        [labels] = [volume * image.slope + image.inter for volume in image.volumes()]
        if not np.isfinite(labels).all():
            raise ValueError("labels that are not finite")
    x, y, z = image.shape
    # NIfTI stores X fastest, `index` counts Z fastest.
    index = np.flatnonzero(labels.reshape((x, y, z), order="F") > 0).astype(np.int64)
    if len(index) != expected_voxels:
        raise UserError(
            f"{path}: expected {expected_voxels} voxels with a label > 0, found {len(index)}; "
            f"correct `voxels` of the subject, or {AGAIN}"
        )
    return Voxels(index, (x, y, z), image.affine)
