"""Images: a subject's stack, the stimulus file and the shared images."""

import hashlib
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from boldvision.config import Design
from boldvision.datasets.nsd.stimuli import copy_images
from boldvision.errors import UserError
from boldvision.images import ImageStack, write_images

SMALL = Design(images=1300, images_per_subject=250, shared_images=100, image_px=4)


@pytest.fixture
def stack(tmp_path) -> Path:
    images = np.arange(3 * 48, dtype=np.uint8).reshape(3, 4, 4, 3)
    write_images(tmp_path / "s.h5", np.array([5, 7, 20]), iter([images[:2], images[2:]]), {})
    return tmp_path / "s.h5"


def test_images_by_id_in_any_order(stack):
    images = ImageStack(stack)
    assert len(images) == 3
    read = images.read([20, 5, 20])
    assert read.shape == (3, 4, 4, 3)
    assert read[:, 0, 0, 0].tolist() == [96, 0, 96]
    assert images[7].flat[0] == 48
    with pytest.raises(UserError, match="no image_id 6 "):
        images.read([5, 6])
    with pytest.raises(UserError, match="no image_id 21 "):
        images[21]


def test_stack_is_reproducible_byte_by_byte(stack, tmp_path):
    write_images(tmp_path / "again.h5", ImageStack(stack).image_id, [ImageStack(stack)._images], {})
    first, second = (
        hashlib.sha256(path.read_bytes()).digest() for path in (stack, tmp_path / "again.h5")
    )
    assert first == second


def test_stack_faults(tmp_path):
    path = tmp_path / "x.h5"
    with pytest.raises(ValueError, match="increase"):
        write_images(path, np.array([2, 1]), [np.zeros((2, 4, 4, 3), np.uint8)], {})
    with pytest.raises(ValueError, match="1 images for 2"):
        write_images(path, np.array([1, 2]), [np.zeros((1, 4, 4, 3), np.uint8)], {})
    assert not list(tmp_path.iterdir())
    with h5py.File(path, "w") as file:
        file["image_id"], file["images"] = [1], np.zeros((1, 4, 4, 3))
    with pytest.raises(UserError, match="found dataset `images` float64"):
        ImageStack(path)


@pytest.mark.survives(
    "files",
    "The images of a subject are cut, of another kind, or lie in another file",
    "What is there is checked at each opening, the pixels' extent too; the stage stops",
)
@pytest.mark.parametrize("change", ["cut", "html", "elsewhere", "order", "gone"])
def test_stacks_that_are_not(stack, tmp_path, change):
    if change == "cut":
        stack.write_bytes(stack.read_bytes()[:-10])
    if change == "html":
        stack.write_text("<html></html>")
    if change == "elsewhere":
        stack.rename(tmp_path / "other.h5")
        with h5py.File(stack, "w") as file:
            file["image_id"] = np.array([5, 7, 20])
            file["images"] = h5py.ExternalLink("other.h5", "images")
    if change == "order":
        with h5py.File(stack, "a") as file:
            file["image_id"][:] = [5, 20, 7]
    if change == "gone":
        stack.unlink()
    with pytest.raises(UserError, match=r"s\.h5: expected a stack of images, found .*fetch"):
        ImageStack(stack)


SHARED_IMAGE = np.full((4, 4, 3), 9, np.uint8)


@pytest.mark.survives(
    "files",
    "A shared image is cut, no PNG, or unpacks to a picture of another size",
    "A picture of another size is not unpacked; the stage stops, and the stack does not appear",
)
@pytest.mark.parametrize("change", ["cut", "html", "huge", "other"])
def test_shared_images_that_are_not(tmp_path, change):
    path = tmp_path / "shared0001.png"
    picture = Image.new("RGB", (4000, 4000)) if change == "huge" else Image.fromarray(SHARED_IMAGE)
    picture.save(path, "jpeg" if change == "other" else "png")
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-25])
    if change == "html":
        path.write_text("<html></html>")
    tracemalloc.start()
    with pytest.raises(UserError, match=r"shared0001\.png: expected"):
        write_images(tmp_path / "s.h5", np.array([5]), iter([SHARED_IMAGE[None]]), {5: path})
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert not (tmp_path / "s.h5").exists()


def write_stimuli(path: Path, how: str) -> np.ndarray:
    """A stimulus file, in which the values may lie elsewhere."""
    shape = (SMALL.images, SMALL.image_px, SMALL.image_px, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path.with_name("secret").write_bytes(pixels.tobytes())
    with h5py.File(path, "w") as file:
        if how == "external":
            external = [(str(path.with_name("secret")), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("imgBrick", shape, np.uint8, external=external)
        elif how == "link":
            file["imgBrick"] = h5py.ExternalLink("other.h5", "imgBrick")
        else:
            file["imgBrick"] = pixels
    if how == "html":
        path.write_text("<html></html>")
    return pixels


@pytest.mark.survives(
    "names",
    "The stimulus file takes its pixels from another file of this machine",
    "It is refused, and told to be replaced; no local file gets into the images",
)
@pytest.mark.parametrize("how", ["inside", "external", "link", "html"])
def test_stimuli_hold_their_own_pixels(tmp_path, how):
    source, out, ids = tmp_path / "nsd_stimuli.hdf5", tmp_path / "s.h5", np.array([3, 700])
    pixels = write_stimuli(source, how)
    if how == "inside":
        copy_images(source, ids, SMALL, out, {})
        np.testing.assert_array_equal(ImageStack(out).read(ids), pixels[ids - 1])
        return
    with pytest.raises(UserError, match=r"stimuli\.hdf5: expected dataset imgBrick.*replace it"):
        copy_images(source, ids, SMALL, out, {})
    assert not out.exists()
