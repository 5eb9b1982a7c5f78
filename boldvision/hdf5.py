"""HDF5 files: plain numbers that lie in the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike

from boldvision.files import reading

LATENTS = "latents"
"""Dataset of a reconstruction file that keeps latents in place of pictures."""


@contextmanager
def open_hdf5(path: str | Path, expected: str, remedy: str) -> Iterator[h5py.File]:
    """Open a file to read it; what fails in the block is a `UserError`, see `reading`.

    Parameters
    ----------
    path
        The file.
    expected, remedy
        What it should be, and what to do if it is not.

    Raises
    ------
    UserError
        The file is missing, damaged, locked, or not HDF5.
    """
    with reading(path, expected, remedy), h5py.File(path, "r") as file:
        yield file


def plain_dataset(
    file: h5py.File, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]
) -> h5py.Dataset:
    """Dataset of plain numbers in the root of a file.

    HDF5 can keep a dataset in other files: behind a link, in external storage, or as a virtual
    one. Read from a foreign file, any file of this machine could get into an output.

    Parameters
    ----------
    file
        Open file.
    name
        Name of the dataset.
    dtype
        Type it must have.
    shape
        Shape it must have; None is any extent.

    Raises
    ------
    ValueError
        There is no such dataset; the message says what was found instead. To be called within
        `open_hdf5`.
    """
    links = file.id.links  # `name in file` would follow a link
    if not links.exists(name.encode()):
        raise ValueError(f"no dataset `{name}`")
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"a link in place of dataset `{name}`")
    stored = file[name]
    if not isinstance(stored, h5py.Dataset):
        raise ValueError(f"a group in place of dataset `{name}`")
    if stored.external is not None or stored.is_virtual:
        raise ValueError(f"dataset `{name}` whose values are kept in other files")
    fits = len(stored.shape or ()) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, stored.shape, strict=True)
    )
    if not fits or stored.dtype != np.dtype(dtype):
        extents = ", ".join("any" if extent is None else str(extent) for extent in shape)
        raise ValueError(
            f"dataset `{name}` {stored.dtype} {stored.shape}, not {np.dtype(dtype)} ({extents})"
        )
    return stored


@contextmanager
def open_pictures(path: str | Path) -> Iterator[h5py.File]:
    """Open reconstructions or stimuli to read them.

    Raises
    ------
    UserError
        The file is missing, damaged, locked, or holds no pictures.
    """
    expected = "`images` uint8 [N, height, width, 3] with `image_id` int64 [N]"
    with open_hdf5(path, expected, "run the stage that writes it again") as file:
        plain_dataset(file, "images", np.uint8, (None, None, None, 3))
        yield file


@contextmanager
def open_latents(path: str | Path) -> Iterator[h5py.File]:
    """Open reconstructions of which latents are kept.

    Raises
    ------
    UserError
        The file is missing, damaged, locked, or holds no latents.
    """
    expected = "`latents` float16 [N, channels, height, width] with `image_id` int64 [N]"
    with open_hdf5(path, expected, "run the stage `reconstruct` again") as file:
        plain_dataset(file, LATENTS, np.float16, (None, None, None, None))
        yield file


def write_text(file: h5py.File, name: str, text: str) -> None:
    """Write a text as an attribute of fixed length.

    Text of any length lies in a heap of the file, where flipped bits make HDF5 crash or not end.
    """
    content = text.encode()
    file.attrs[name] = np.array(content, f"S{max(1, len(content))}")


def read_text(file: h5py.File, name: str) -> str:
    """Text of an attribute, of fixed length or not."""
    content = file.attrs[name]
    return content.decode() if isinstance(content, bytes) else str(content)


def contiguous(
    file: h5py.File, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]
) -> np.memmap:
    """A plain dataset as a memory map, which is read when asked for and may be shared.

    Raises
    ------
    ValueError
        There is no such dataset, it is stored in pieces, or the file ends before it.
    """
    stored = plain_dataset(file, name, dtype, shape)
    offset = stored.id.get_offset()
    if offset is None:
        raise ValueError(f"dataset `{name}` stored in pieces")
    return np.memmap(file.filename, stored.dtype, "r", offset, stored.shape)
