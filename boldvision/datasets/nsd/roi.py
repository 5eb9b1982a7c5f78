"""NSD's regions of interest: volumes of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boldvision.errors import FETCH_AGAIN, UserError
from boldvision.files import reading
from boldvision.signal.region import Voxels


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

    with reading(path, "a NIfTI volume of labels", FETCH_AGAIN):
        image = Nifti(path)
        if image.shape != tuple(expected_grid):
            raise UserError(
                f"{path}: expected grid {tuple(expected_grid)}, found {image.shape}; "
                f"correct `grid` of the subject, or {FETCH_AGAIN}"
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
            f"correct `voxels` of the subject, or {FETCH_AGAIN}"
        )
    return Voxels(index, (x, y, z), image.affine)
