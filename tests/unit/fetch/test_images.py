"""The download of images, by ranges of the stimulus file."""

import hashlib
import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from fetch_data import DESIGN, check_stack, fetched, ledger, pixels, run, shared_ids
from PIL import Image

from boldvision.config import S3
from boldvision.datasets.nsd import fetch, keys, s3, stimuli
from boldvision.errors import UserError
from boldvision.images import ImageStack


def test_images_by_ranges(relay, folder, root, monkeypatch):
    monkeypatch.setattr(stimuli, "GAP", 0)
    run("images", root, relay.address)
    check_stack(root / "images" / "subj01.h5", folder)
    assert relay.sent < 0.85 * (folder / keys.stimuli()).stat().st_size
    assert fetched(root / "images") == ["subj01.h5"]
    [key, size, etag, _, _], *shared = ledger(root / "images.tsv")
    numbers_and_ids = list(enumerate(shared_ids(folder), start=1))
    compared = [keys.shared_image(*number_and_id) for number_and_id in numbers_and_ids]
    assert [line[0] for line in shared] == compared
    assert (key, int(size)) == (f"{keys.stimuli()}#subj01", 250 * 192)
    assert etag == hashlib.md5((folder / keys.stimuli()).read_bytes()).hexdigest()


@pytest.mark.survives(
    "results",
    "The machine fails while images are fetched: the end of what is there has holes",
    "The last reads are repeated: every image is right",
)
def test_images_resume(address, folder, root, monkeypatch):
    monkeypatch.setattr(stimuli, "GAP", 0)
    monkeypatch.setattr(stimuli, "BLOCK", 192 * 4)
    plan, planned = stimuli.read_plan, []
    stream, reads = s3.Bucket.stream, []

    def failing(self, remote, start=0, stop=None):
        reads.append(start)
        if len(reads) > 80:
            raise UserError("gone")
        return stream(self, remote, start, stop)

    def noting(rows, image_bytes):
        planned.append(len(rows))
        return plan(rows, image_bytes)

    monkeypatch.setattr(stimuli, "read_plan", noting)
    monkeypatch.setattr(s3.Bucket, "stream", failing)
    with pytest.raises(UserError, match="gone"):
        run("images", root, address)
    [part] = (root / "images" / "subj01.h5.partial").iterdir()
    with part.open("r+b") as file:
        file.seek(-3 * 192, os.SEEK_END)
        file.write(bytes(3 * 192) + b"half an image")
    monkeypatch.setattr(s3.Bucket, "stream", stream)
    run("images", root, address)
    assert planned[0] == 250
    assert planned[1] < 230
    check_stack(root / "images" / "subj01.h5", folder)


def test_images_of_another_list_are_not_patched_together(address, tmp_path, monkeypatch):
    bucket, out = s3.Bucket(S3(endpoint=address)), tmp_path / "subj01.h5"

    def stop(*args):
        raise UserError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(stimuli, "write_images", stop)
        with pytest.raises(UserError, match="no room"):
            stimuli.fetch_images(bucket, np.arange(1, 9), DESIGN, out, {})
    [left] = (tmp_path / "subj01.h5.partial").iterdir()
    assert left.stat().st_size == 8 * 192
    other = np.arange(3, 11)
    stimuli.fetch_images(bucket, other, DESIGN, out, {})
    np.testing.assert_array_equal(ImageStack(out).read(other), pixels()[other - 1])
    assert os.listdir(tmp_path) == ["subj01.h5"]


@pytest.mark.parametrize(
    ("file_options", "options"),
    [
        ({}, {"chunks": (10, 8, 8, 3), "compression": "gzip"}),
        ({"userblock_size": 512}, {}),
    ],
)
def test_images_whatever_the_layout(file_options, options, address, folder, root, put):
    path = root / "other.hdf5"
    with h5py.File(path, "w", **file_options) as file:
        file.create_dataset("imgBrick", data=pixels(), **options)
    put(keys.stimuli(), path.read_bytes())
    run("images", root, address)
    check_stack(root / "images" / "subj01.h5", folder)
    assert fetched(root / "images") == ["subj01.h5"]


def test_images_of_a_subject_who_saw_no_shared_one(address, folder, root, monkeypatch, capfd):
    monkeypatch.setattr(fetch, "COMPARED", 0)
    run("images", root, address)
    check_stack(root / "images" / "subj01.h5", folder)
    assert "0 of 250 images equal their files" in capfd.readouterr().out


def test_images_of_another_shape(address, folder, root):
    design = DESIGN.model_dump() | {"image_px": 9}
    for source in ({}, {"raw": str(folder)}):
        with pytest.raises(UserError, match=r"expected dataset imgBrick uint8 \(1930, 9, 9, 3\)"):
            run("images", root, address, design=design, **source)


def test_a_shared_image_with_other_pixels(address, folder, root, put):
    image_id = shared_ids(folder)[0]
    key = keys.shared_image(1, image_id)
    neighbour = io.BytesIO()
    Image.fromarray(pixels()[image_id]).save(neighbour, "png")  # as if image_id were 0-based
    put(key, neighbour.getvalue())
    with pytest.raises(UserError, match=rf"{Path(key).name}: expected the pixels of image_id"):
        run("images", root, address)
    assert not (root / "images" / "subj01.h5").exists()


def test_an_existing_copy_without_shared_images(folder, root, tmp_path_factory, capfd):
    copy = tmp_path_factory.mktemp("copy")
    for key in (keys.stimuli(), keys.shared_image(10, shared_ids(folder)[9])):
        (copy / key).parent.mkdir(parents=True, exist_ok=True)
        (copy / key).symlink_to(folder / key)
    run("images", root, None, raw=str(copy))
    assert "compare with the stimulus file: 1" in capfd.readouterr().out
    (copy / keys.shared_image(10, shared_ids(folder)[9])).unlink()
    run("images", root, None, raw=str(copy))
    assert "compare with the stimulus file: 0" in capfd.readouterr().out
    check_stack(root / "images" / "subj01.h5", folder)


def test_read_plan():
    size = 541_875
    assert stimuli.read_plan([0, 1, 2, 4, 100], size) == [[0, 1, 2, 4], [100]]
    assert max(map(len, stimuli.read_plan(list(range(100)), size))) == stimuli.BLOCK // size
