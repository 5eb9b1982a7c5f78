"""Blur the faces in pictures.

In pictures that are shown they are if the configuration says so; metrics see such pictures only
where a run blurs what it makes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SMALLEST_FACE_PX = 20
"""Width of the smallest face that the detector looks for."""

SMALLEST_PICTURE_PX = 2 * SMALLEST_FACE_PX
"""In smaller pictures, a face of half their side is smaller than that: they are not searched."""

MARGIN = 0.2
"""The box of a face grows by this fraction of its sides, to each side."""

LEFT = 4
"""A blurred face keeps this number of colours across and down."""

BATCH = 16


def shown(images: np.ndarray, blur: bool) -> np.ndarray:
    """Reconstructions as they may be shown: with their faces blurred if `blur`.

    Parameters
    ----------
    images : array of uint8 [N, H, W, 3]
    blur : bool
        Key ``blur_faces`` of the configuration.
    """
    return blur_faces(images) if blur else images


def blur_faces(images: np.ndarray) -> np.ndarray:
    """A copy of the pictures in which every face that is found is blurred.

    What remains of a face are `LEFT` x `LEFT` colours, so the blur cannot be undone. Pictures
    smaller than `SMALLEST_PICTURE_PX` are returned as they are.

    Parameters
    ----------
    images : array of uint8 [N, H, W, 3]

    Returns
    -------
    array of uint8 [N, H, W, 3]
    """
    blurred = images.copy()
    if min(images.shape[1:3]) < SMALLEST_PICTURE_PX:
        return blurred
    for start in range(0, len(images), BATCH):
        batch = blurred[start : start + BATCH]
        for picture, boxes in zip(batch, find_faces(batch), strict=True):
            for box in boxes:
                _blur(picture, box)
    return blurred


def find_faces(images: np.ndarray) -> list[np.ndarray]:
    """Boxes (left, top, right, bottom) in pixels of the faces of each picture, float [faces, 4].

    Parameters
    ----------
    images : array of uint8 [N, H, W, 3]
        At least `SMALLEST_FACE_PX` high and wide.
    """
    found, _ = _detector().detect(np.ascontiguousarray(images))
    return [np.empty((0, 4)) if boxes is None else np.asarray(boxes, float) for boxes in found]


@cache
def _detector() -> Any:
    from facenet_pytorch import MTCNN  # slow to import, and not needed for small pictures

    return MTCNN(keep_all=True, min_face_size=SMALLEST_FACE_PX)


def _blur(picture: np.ndarray, box: np.ndarray) -> None:
    height, width = picture.shape[:2]
    grow = MARGIN * (box[2:] - box[:2])
    left, top = np.floor(box[:2] - grow).astype(int).clip(0)
    right, bottom = np.ceil(box[2:] + grow).astype(int).clip(0, (width, height))
    if left < right and top < bottom:
        face = Image.fromarray(picture[top:bottom, left:right])
        few = face.resize((LEFT, LEFT), Image.Resampling.BOX)
        picture[top:bottom, left:right] = few.resize(face.size, Image.Resampling.BICUBIC)
