"""The contract of a target, and how its files are read.

A target is a package ``boldvision.targets.<kind>`` with the modules

``settings``
    with a class ``Target``, a :class:`BaseTarget` with a field ``kind``.
``network``
    with ``load(target, frozen)``: a function that turns :class:`Stimuli` into arrays [N, …] by
    name, float16 or float32, each image by itself; what is random is seeded by image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from boldvision.config.runs import Generator
from boldvision.errors import UserError
from boldvision.hdf5 import contiguous, open_hdf5, plain_dataset, read_text
from boldvision.networks.settings import BaseNetwork

DIGEST = "sha256"
"""Attribute of a file with the sha256 of its values."""

EXPECTED = "what a frozen network makes of images"
AGAIN = "run the stage `target` again"


@dataclass(frozen=True)
class Frozen:
    """What a target is made with: the generators and networks that it names.

    Attributes
    ----------
    generators : dict of str to Generator
    networks : dict of str to BaseNetwork
    device : str
    """

    generators: Mapping[str, Generator]
    networks: Mapping[str, BaseNetwork]
    device: str


@dataclass(frozen=True)
class Stimuli:
    """Some images, as a target sees them.

    Attributes
    ----------
    image_id : ndarray of int64, [N]
    pictures : ndarray of uint8, [N, H, W, 3]
    captions : list of list of str, or None
        Of each image, at least one; None unless the target asks for them.
    """

    image_id: np.ndarray
    pictures: np.ndarray
    captions: Sequence[Sequence[str]] | None = None


class TargetFile:
    """What a frozen network made of a subject's images, compared with its digest and mapped.

    The processes of a machine that read a file share the memory it takes.

    Parameters
    ----------
    path : str or Path
        File of the stage `target`: ``image_id`` int64 [N], 1-based and sorted, and arrays [N, …].

    Attributes
    ----------
    image_id : ndarray of int64, [N]
    values : dict of str to memmap, [N, …]

    Raises
    ------
    UserError
        The file is missing, or not as it was written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with open_hdf5(path, EXPECTED, AGAIN) as file:
            self.image_id = plain_dataset(file, "image_id", np.int64, (None,))[:]
            self.values = mapped_values(file, len(self.image_id))
            if digest(self.image_id, self.values) != read_text(file, DIGEST):
                raise ValueError("other values than were written")

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of that name.

        Raises
        ------
        UserError
            There is none.
        """
        if name not in self.values:
            raise UserError(
                f"{self.path}: expected {name!r}, found {', '.join(self.values)}: the run names a "
                "target of another kind; correct it"
            )
        return self.values[name]

    def rows(self, image_ids: np.ndarray) -> np.ndarray:
        """Rows that hold `image_ids`.

        Raises
        ------
        UserError
            An image is not in the file.
        """
        rows = np.searchsorted(self.image_id, image_ids).clip(max=len(self.image_id) - 1)
        missing = np.unique(image_ids[self.image_id[rows] != image_ids])
        if missing.size:
            raise UserError(
                f"{self.path}: nothing of images {missing[:5].tolist()} ({len(missing)} in all). "
                f"{AGAIN.capitalize()} to add the images that are needed now."
            )
        return rows


def target_digest(path: str | Path) -> str:
    """The sha256 that a file says its values have.

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    with open_hdf5(path, EXPECTED, AGAIN) as file:
        return read_text(file, DIGEST)


def digest(image_id: np.ndarray, values: Mapping[str, np.ndarray]) -> str:
    """The sha256 of a file's values, of which no copy is made."""
    sha256 = hashlib.sha256(np.ascontiguousarray(image_id).data)
    for name in sorted(values):
        sha256.update(name.encode())
        sha256.update(np.ascontiguousarray(values[name]).data)
    return sha256.hexdigest()


def mapped_values(file: h5py.File, n: int) -> dict[str, np.memmap]:
    """The arrays [n, …] of float16 or float32 of a file, by name.

    Raises
    ------
    ValueError
        One is of another kind. To be called within `open_hdf5`, or after a flush.
    """
    return {name: _mapped(file, name, n) for name in sorted(file) if name != "image_id"}


def _mapped(file: h5py.File, name: str, n: int) -> np.memmap:
    link = file.get(name, getlink=True)
    stored = file[name] if isinstance(link, h5py.HardLink) else None
    wide = isinstance(stored, h5py.Dataset) and stored.dtype == np.float32
    extents = [None] * (len(stored.shape) - 1) if isinstance(stored, h5py.Dataset) else []
    return contiguous(file, name, np.float32 if wide else np.float16, (n, *extents))
