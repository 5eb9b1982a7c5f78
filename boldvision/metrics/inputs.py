"""What the evaluation reads: reconstructions per test window, and the stimuli they are of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from boldvision.errors import UserError
from boldvision.hdf5 import open_pictures, plain_dataset, read_text


@dataclass(frozen=True)
class Reconstructions:
    """The reconstructions of one test window; the images stay on disk.

    Attributes
    ----------
    path : Path
    trial, image_id : array of int [n]
    dropped : int
        Trials whose window left their run.
    label : str
        What the generator's weights are.
    """

    path: Path
    trial: np.ndarray
    image_id: np.ndarray
    dropped: int
    label: str

    @property
    def window(self) -> str:
        """Name of the test window."""
        return self.path.stem

    def images(self, some: slice) -> np.ndarray:
        """Some of the images, uint8 [n, height, width, 3]."""
        with open_pictures(self.path) as file:
            return file["images"][some]

    def constant(self, block: int = 64) -> int:
        """How many of the images have the same colour in all pixels."""
        firsts = range(0, len(self.image_id), block)
        blocks = (self.images(slice(first, first + block)) for first in firsts)
        return sum(int((x == x[:, :1, :1]).all(axis=(1, 2, 3)).sum()) for x in blocks)


@dataclass(frozen=True)
class Stimuli:
    """The stimuli of all test windows: `images` uint8 [m, px, px, 3], sorted distinct ids [m]."""

    images: np.ndarray
    image_id: np.ndarray

    @cached_property
    def digest(self) -> str:
        """Of ids and pixels."""
        found = hashlib.sha256(self.image_id.astype(np.int64).tobytes())
        found.update(np.ascontiguousarray(self.images).data)
        return found.hexdigest()

    def rows(self, image_id: np.ndarray) -> np.ndarray:
        """Rows of the given ids."""
        return np.searchsorted(self.image_id, image_id)


def window_files(folder: str | Path) -> list[Path]:
    """Files of all test windows of a folder, in the order of their names.

    Raises
    ------
    UserError
        There is none.
    """
    paths = [path for path in Path(folder).glob("*.h5") if not path.name.startswith(".")]
    if not paths:
        raise UserError(
            f"{folder}: expected one .h5 per test window, found none. Run the stage `reconstruct`."
        )
    return sorted(paths, key=lambda path: path.stem)


def read_reconstructions(folder: str | Path) -> list[Reconstructions]:
    """All test windows of a folder, in the order of their names.

    Raises
    ------
    UserError
        There is none, or one of the files is not what `reconstruct` writes.
    """
    return [_read_window(path) for path in window_files(folder)]


def _read_window(path: Path) -> Reconstructions:
    with open_pictures(path) as file:
        shape = file["images"].shape[:1]
        image_id = plain_dataset(file, "image_id", np.int64, shape)[:]
        trial = plain_dataset(file, "trial", np.int64, shape)[:]
        dropped, label = int(file.attrs["dropped"]), read_text(file, "label")
    if (found := len(np.unique(image_id))) < 2:
        raise UserError(
            f"{path}: expected reconstructions of at least 2 images, found {len(image_id)} of "
            f"{found}; run `reconstruct` again"
        )
    return Reconstructions(path, trial, image_id, dropped, label)
