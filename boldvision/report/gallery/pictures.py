"""The gallery's pictures: of every image, one file with its windows side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from boldvision import faces
from boldvision.errors import UserError
from boldvision.hdf5 import open_pictures
from boldvision.report.gallery.choice import ShownDecoder, places

SMALL_PX = 100
"""Smaller pictures are enlarged without smoothing on the page, so they are stored without loss."""

WIDEST_PX = 16383
"""Width of a WebP file at most."""

BLANK = 238
"""Grey of a window that leaves its run."""

CHUNK = 64
"""Images whose reconstructions are in memory together."""


def write_sprites(
    decoder: ShownDecoder, chosen: pd.DataFrame, image_px: int, blur: bool, folder: Path
) -> int:
    """Write one file per image, ``{image_id}.webp``: its windows side by side.

    Faces are sought at full size: a small picture hides them from the detector, not from the eye.

    Returns
    -------
    int
        Side of a picture, pixels.
    """
    px = min(image_px, decoder.native_px)
    if px * len(decoder.models) > WIDEST_PX:
        raise UserError(
            f"gallery: {len(decoder.models)} windows of {px} pixels: expected at most {WIDEST_PX} "
            "pixels side by side; lower `gallery: image_px`"
        )
    rows = places(decoder, chosen)
    for start in range(0, len(chosen), CHUNK):
        some = slice(start, start + CHUNK)
        ids = chosen["image_id"].to_numpy()[some]
        row = np.full((len(ids), px, len(decoder.models), px, 3), BLANK, np.uint8)
        for window, (_, path) in enumerate(decoder.models.values()):
            place = rows[some, window]
            there = place >= 0
            if there.any():
                pictures = faces.shown(_read(path, place[there]), blur)
                row[there, :, window] = resized(pictures, px)
        _save(row.reshape(len(ids), px, -1, 3), ids, folder)
    return px


def write_stimuli(source: str | Path, image_ids: Sequence[int], image_px: int, folder: Path) -> int:
    """Write the stimuli, ``{image_id}.webp``, that another subject has not written yet.

    Returns
    -------
    int
        Side of a picture, pixels.
    """
    with open_pictures(source) as file:
        rows = pd.Series(np.arange(len(file["image_id"])), index=file["image_id"][:])
        px = min(image_px, file["images"].shape[1])
    if unknown := [image for image in image_ids if image not in rows.index]:
        raise UserError(
            f"{source}: expected image_id {unknown[0]}, found none ({len(unknown)} of "
            f"{len(image_ids)} are missing); fetch `images` again"
        )
    new = np.array([i for i in image_ids if not (folder / f"{i}.webp").exists()], int)
    for start in range(0, len(new), CHUNK):
        ids = new[start : start + CHUNK]
        _save(resized(_read(source, rows[ids].to_numpy()), px), ids, folder)
    return px


def resized(images: np.ndarray, px: int) -> np.ndarray:
    """Pictures uint8 [N, H, W, 3] as [N, px, px, 3]."""
    if images.shape[1:3] == (px, px):
        return images
    size, kind = (px, px), Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(image).resize(size, kind)) for image in images])


def _read(path: str | Path, places: np.ndarray) -> np.ndarray:
    """Rows of a file of pictures, in the order given."""
    unique, back = np.unique(places, return_inverse=True)  # HDF5 wants them sorted
    with open_pictures(path) as file:
        return file["images"][unique][back]


def _save(pictures: np.ndarray, image_ids: Iterable[int], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    options = {"lossless": pictures.shape[1] < SMALL_PX, "quality": 85, "method": 0}
    for picture, image_id in zip(pictures, image_ids, strict=True):
        Image.fromarray(picture).save(folder / f"{image_id}.webp", **options)
