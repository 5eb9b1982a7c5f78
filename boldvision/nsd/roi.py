"""Voxels of a region of interest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boldvision.errors import UserError
from boldvision.files import atomic


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
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as content:
            x, y, z = content["shape"].tolist()
            return cls(content["index"], (x, y, z), content["affine"])


def read_roi(path: str | Path, expected_voxels: int, expected_grid: tuple[int, int, int]) -> Voxels:
    """Voxels whose label is positive (-1 is outside cortex, 0 is unlabelled cortex).

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
        The file cannot be read, or its grid or number of voxels is not the expected one.
    """
    import nibabel

    try:
        image = nibabel.Nifti1Image.from_filename(path)
        labels = np.asarray(image.dataobj)
    except (OSError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(f"{path}: not a readable NIfTI volume ({error}); fetch it again") from None
    if labels.shape != tuple(expected_grid):
        raise UserError(
            f"{path}: expected grid {tuple(expected_grid)}, found {labels.shape}; "
            "correct `grid` of the subject, or fetch the file again"
        )
    index = np.flatnonzero(labels > 0).astype(np.int64)
    if len(index) != expected_voxels:
        raise UserError(
            f"{path}: expected {expected_voxels} voxels with a label > 0, found {len(index)}; "
            "correct `voxels` of the subject, or fetch the file again"
        )
    x, y, z = labels.shape
    return Voxels(index, (x, y, z), np.asarray(image.affine, dtype=np.float64))
