"""Voxels of a region of interest, and the file that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boldvision.files import atomic, reading


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
