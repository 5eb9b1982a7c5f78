"""The images one subject saw: `resources/{dataset}/images/{subject}.h5`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from boldvision.errors import FETCH_AGAIN, UserError
from boldvision.files import atomic, reading


class ImageStack:
    """Pixels by image_id, read from disk when asked for; may be shared with forked workers.

    Attributes
    ----------
    image_id
        int64 [N], increasing, 1-based.

    Raises
    ------
    UserError
        The file is not what `write_images` writes.
    """

    def __init__(self, path: str | Path) -> None:
        from boldvision.hdf5 import contiguous, open_hdf5, plain_dataset

        self.path = Path(path)
        with open_hdf5(path, "a stack of images", "fetch `images` again") as file:
            self.image_id: np.ndarray = plain_dataset(file, "image_id", np.int64, (None,))[:]
            count = len(self.image_id)
            self._images = contiguous(file, "images", np.uint8, (count, None, None, 3))
            if not count or (np.diff(self.image_id) <= 0).any():
                raise ValueError(f"{count} image ids that do not increase")

    def __len__(self) -> int:
        return len(self.image_id)

    def __getitem__(self, image_id: int) -> np.ndarray:
        """One image, uint8 [px, px, 3]."""
        return self.read([image_id])[0]

    def read(self, image_ids: Iterable[int]) -> np.ndarray:
        """Images in the given order, uint8 [N, px, px, 3]; an id may occur twice.

        Raises
        ------
        UserError
            The stack lacks an image.
        """
        wanted = np.fromiter(image_ids, np.int64)
        rows = np.searchsorted(self.image_id, wanted).clip(max=len(self) - 1)
        missing = wanted[self.image_id[rows] != wanted]
        if len(missing):
            raise UserError(
                f"{self.path}: has no image_id {missing[0]} ({len(missing)} of {len(wanted)} "
                f"asked for are missing, {len(self)} are there); fetch `images` again"
            )
        return np.asarray(self._images[rows])


def write_images(
    path: str | Path,
    image_id: np.ndarray,
    slabs: Iterable[np.ndarray],
    known: Mapping[int, Path],
) -> None:
    """Write a stack of images, which appears when it agrees with what is known of it.

    Parameters
    ----------
    path
        Output, HDF5.
    image_id
        int64 [N], increasing, 1-based.
    slabs
        Consecutive groups of the images, each uint8 [n, px, px, 3].
    known
        Files of some of the images, by image_id, in a format without loss.

    Raises
    ------
    UserError
        A known image has other pixels in the stack.
    ValueError
        The ids do not increase, or the slabs do not hold N images.
    """
    import h5py

    if (np.diff(image_id) <= 0).any():
        raise ValueError("image_id must increase")
    written = 0
    with atomic(path) as part:
        with h5py.File(part, "w") as file:
            file["image_id"] = image_id.astype(np.int64)
            for slab in slabs:
                if "images" not in file:
                    file.create_dataset("images", (len(image_id), *slab.shape[1:]), np.uint8)
                file["images"][written : written + len(slab)] = slab
                written += len(slab)
        if written != len(image_id):
            raise ValueError(f"{written} images for {len(image_id)} ids")
        stack = ImageStack(part)
        for known_id, file in known.items():
            _require_equal(stack[known_id], known_id, file)


def _require_equal(pixels: np.ndarray, image_id: int, file: Path) -> None:
    from PIL import Image

    with (
        reading(file, "a PNG of a shared image", FETCH_AGAIN),
        Image.open(file, formats=["PNG"]) as image,
    ):
        # The size is in the header: what else a PNG could unpack to is not unpacked.
        same = (image.height, image.width) == pixels.shape[:2]
        found = np.asarray(image.convert("RGB")) if same else np.empty((image.height, 0))
    if not np.array_equal(pixels, found):
        raise UserError(
            f"{file.name}: expected the pixels of image_id {image_id} of the stimulus file, found "
            f"others ({image.height} x {image.width} beside {pixels.shape[:2]}); image_id is "
            "1-based and row image_id - 1 of imgBrick. Correct `design` in the configuration, or "
            "fetch both files again"
        )
