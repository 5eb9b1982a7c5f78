"""What the evaluation reads: reconstructions per test window, and the stimuli they are of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from boldvision.errors import UserError


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
        with h5py.File(self.path) as file:
            return file["images"][some]


def read_reconstructions(folder: str | Path) -> list[Reconstructions]:
    """All test windows of a folder, in the order of their names.

    Raises
    ------
    UserError
        There is none, or one of the files is not what `reconstruct` writes.
    """
    paths = [path for path in Path(folder).glob("*.h5") if not path.name.startswith(".")]
    if not paths:
        raise UserError(
            f"{folder}: expected one .h5 per test window, found none. Run the stage `reconstruct`."
        )
    return [_read_window(path) for path in sorted(paths, key=lambda path: path.stem)]


def _read_window(path: Path) -> Reconstructions:
    with h5py.File(path) as file:
        _check_images(path, file)
        if missing := {"trial", "image_id"} - set(file):
            raise UserError(f"{path}: lacks {', '.join(missing)}. Run `reconstruct` again.")
        trial, image_id = file["trial"][:], file["image_id"][:]
        n = len(file["images"])
        if not len(trial) == len(image_id) == n or len(np.unique(image_id)) < 2:
            raise UserError(
                f"{path}: expected reconstructions of at least 2 images, each with its trial and "
                f"image_id; found {n} reconstructions, {len(trial)} trials and "
                f"{len(np.unique(image_id))} distinct image ids. Run `reconstruct` again."
            )
        dropped, label = int(file.attrs.get("dropped", 0)), str(file.attrs.get("label", ""))
    return Reconstructions(path, trial, image_id, dropped, label)


def _check_images(path: Path, file: h5py.File) -> None:
    images = file.get("images")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        found = "none" if images is None else f"{images.dtype} {list(images.shape)}"
        raise UserError(
            f"{path}: expected `images` uint8 [N, height, width, 3], found {found}. "
            "Run the stage that writes it again."
        )
