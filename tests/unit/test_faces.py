"""Faces are found and blurred, and nothing else is; photographs are scikit-image's own."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from boldvision import faces

torch.set_num_threads(1)  # several threads of small networks wait for each other

FACE = (0.35, 0.12, 0.53, 0.34)
"""Left, top, right, bottom of the astronaut's face, as fractions of the sides."""


def photograph(name: str, px: int) -> np.ndarray:
    image = getattr(skimage.data, name)()
    side = min(image.shape[:2])
    return np.asarray(Image.fromarray(image[:side, :side]).resize((px, px)))


def of_face(pictures: np.ndarray) -> np.ndarray:
    left, top, right, bottom = (round(f * pictures.shape[1]) for f in FACE)
    return pictures[:, top:bottom, left:right]


@pytest.mark.parametrize("px", [64, 128, 192, 512])
def test_the_face_is_blurred_and_the_rest_stays(px):
    before = photograph("astronaut", px)[None]
    after = faces.blur_faces(before)
    changed = (after != before).any(axis=-1)
    assert of_face(changed).mean() > 0.95
    assert changed.sum() < 3 * of_face(changed).size
    assert faces.find_faces(before)[0].shape == (1, 4)
    assert len(faces.find_faces(after)[0]) == 0
    assert after.dtype == np.uint8


@pytest.mark.parametrize("px", [128, 192, 512])
def test_pictures_without_faces_stay(px):
    before = np.stack([photograph(name, px) for name in ("chelsea", "coffee")])
    assert (faces.blur_faces(before) == before).all()


def test_small_faces_are_found_and_textures_are_not():
    patches = skimage.data.lfw_subset()  # 100 faces, then 100 others, of 25 pixels
    pictures = np.full((40, 64, 64, 3), 110, np.uint8)
    chosen = np.concatenate([patches[:20], patches[100:120]])
    pictures[:, 19:44, 19:44] = (255 * chosen).round().astype(np.uint8)[..., None]
    found = [len(boxes) > 0 for boxes in faces.find_faces(pictures)]
    assert sum(found[:20]) >= 19
    assert sum(found[20:]) == 0


def test_pictures_of_a_batch_do_not_mix():
    px = 96
    photographs = [photograph(name, px) for name in ("coffee", "astronaut", "chelsea")]
    many = np.stack(photographs * 6)  # more than a batch
    assert len(many) > faces.BATCH
    alone = np.concatenate([faces.blur_faces(picture[None]) for picture in photographs])
    assert (faces.blur_faces(many) == np.tile(alone, (6, 1, 1, 1))).all()


def test_a_face_at_the_edge_is_blurred():
    px = 192
    before = photograph("astronaut", px)[None, round(0.16 * px) :, round(0.36 * px) :]
    (box,) = faces.find_faces(before)[0]
    assert box[0] < 0.1 * px
    assert (faces.blur_faces(before)[:, :20, :10] != before[:, :20, :10]).any()


def test_the_pictures_given_are_not_changed():
    given = photograph("astronaut", 64)[None]
    kept = given.copy()
    faces.blur_faces(given)
    assert (given == kept).all()


def test_small_pictures_need_no_detector(monkeypatch):
    monkeypatch.setattr(faces, "_detector", lambda: pytest.fail("the detector is loaded"))
    small = photograph("astronaut", 32)[None]
    assert (faces.blur_faces(small) == small).all()


def test_the_switch(monkeypatch):
    monkeypatch.setattr(faces, "blur_faces", lambda images: 255 - images)
    given = photograph("coffee", 32)[None]
    assert (faces.shown(given, False) == given).all()
    assert (faces.shown(given, True) == 255 - given).all()
