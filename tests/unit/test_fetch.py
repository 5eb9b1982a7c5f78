"""The download, against a real S3 server on loopback."""

import errno
import gzip
import hashlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

import boto3
import h5py
import numpy as np
import pytest
import scipy.io
from botocore.config import Config
from PIL import Image

from boldvision.config import S3, Design
from boldvision.errors import UserError
from boldvision.miniature.serve import serving
from boldvision.nsd import download, fetch, keys, s3, stimuli
from boldvision.nsd.images import ImageStack
from boldvision.nsd.integrity import etag_agrees, gzip_fault
from boldvision.nsd.runs import trials_in_run

MIB = 1 << 20
DESIGN = Design(images=10 + 8 * 240, images_per_subject=250, shared_images=10, image_px=8)
SUBJECT = {"number": 1, "sessions": 1, "rest_sessions": [1], "grid": [2, 2, 2], "voxels": 4}
BIG = keys.timeseries("subj01", 1, 2)


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (DESIGN.images, 8, 8, 3), np.uint8)


def write_experiment(path: Path) -> None:
    rng = np.random.default_rng(1)
    shared, private = np.split(rng.permutation(DESIGN.images) + 1, [DESIGN.shared_images])
    shared.sort()
    stimpattern = np.zeros((1, 12, 75), np.uint8)
    for run in range(12):
        stimpattern[0, run, 3 : 3 + trials_in_run(run + 1)] = 1
    fields = {
        "masterordering": rng.permutation(np.repeat(np.arange(250), 3) + 1)[None],
        "subjectim": np.hstack([np.tile(shared, (8, 1)), private.reshape(8, -1)]),
        "sharedix": shared[None],
        "stimpattern": stimpattern,
    }
    scipy.io.savemat(path, fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A bucket of one session of 14 files, of which the second has two parts."""
    folder = tmp_path_factory.mktemp("bucket")
    small = [keys.stim_info(), keys.brainmask("subj01"), keys.roi("subj01")]
    small += [keys.responses("subj01")]
    for run in range(1, 15):
        small += [keys.design("subj01", 1, run), keys.timeseries("subj01", 1, run)]
    for key in [*small, keys.expdesign(), keys.stimuli()]:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        content = key.encode() * 50
        (folder / key).write_bytes(gzip.compress(content) if key.endswith(".gz") else content)
    (folder / BIG).write_bytes(gzip.compress(random.Random(0).randbytes(12 * MIB), 1))
    write_experiment(folder / keys.expdesign())
    with h5py.File(folder / keys.stimuli(), "w") as file:
        file["imgBrick"] = pixels()
    for number, image_id in enumerate(shared_ids(folder), start=1):
        path = folder / keys.shared_image(number, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels()[image_id - 1]).save(path)
    return folder


def shared_ids(folder: Path) -> list[int]:
    return scipy.io.loadmat(folder / keys.expdesign())["sharedix"].ravel().tolist()


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder, "natural-scenes-dataset") as address:
        yield address


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(s3, "BACKOFF_S", 0.01)


@pytest.fixture
def put(address):
    """Put an object for the length of a test."""
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="owner",
        aws_secret_access_key="owner",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    where = {"Bucket": "natural-scenes-dataset", "ACL": "public-read"}
    before: dict[str, bytes] = {}

    def put(key: str, body: bytes) -> None:
        before[key] = client.get_object(Bucket=where["Bucket"], Key=key)["Body"].read()
        client.put_object(Key=key, Body=body, **where)

    yield put
    for key, body in before.items():
        client.put_object(Key=key, Body=body, **where)


class Relay:
    """Passes bytes between a client and the server, and can hold or cut a long answer."""

    def __init__(self, address: str) -> None:
        self.server = (urlparse(address).hostname, urlparse(address).port)
        self.hold_after = None  # bytes of an answer
        self.cut_after = 0  # bytes of an answer
        self.cuts_left = 0
        self.sent = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.server)
            except OSError:
                client.close()  # a client of an earlier test, after the server has gone
                continue
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink, answer: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                while answer and self.hold_after is not None and passed >= self.hold_after:
                    time.sleep(0.01)
                if answer and self.cuts_left and passed >= self.cut_after:
                    self.cuts_left -= 1
                    break
                sink.sendall(data)
                passed += len(data)
                self.sent += len(data) if answer else 0
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(address):
    relay = Relay(address)
    yield relay
    relay.listener.close()


def arguments(part: str, root: Path, address: str | None, **settings) -> list[str]:
    settings = {"subject": SUBJECT, "design": DESIGN.model_dump()} | settings
    argv = [part, "--settings", json.dumps(settings), "--root", str(root)]
    argv += ["--ledger", str(root / f"{part}.tsv")]
    argv += ["--endpoint", address] if address else []
    argv += ["--subject", "subj01"] if part != "experiment" else []
    return argv + (["--session", "1", "--out", str(root / "s01")] if part == "session" else [])


def run(part: str, root: Path, address: str | None, **settings) -> None:
    assert fetch.main(arguments(part, root, address, **settings)) == 0


def ledger(path: Path) -> list[list[str]]:
    header, *lines = (line.split("\t") for line in path.read_text().splitlines())
    assert header == ["key", "bytes", "etag", "last_modified", "sha256"]
    return lines


def bytes_of(paths) -> int:
    """Sizes of files that another process may rename at any time."""
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_experiment_and_its_ledger(address, folder, tmp_path):
    run("experiment", tmp_path, address)
    lines = ledger(tmp_path / "experiment.tsv")
    assert [line[0] for line in lines] == [keys.expdesign(), keys.stim_info()]
    for key, size, etag, modified, sha256 in lines:
        content = (folder / key).read_bytes()
        assert (tmp_path / key).read_bytes() == content
        assert int(size) == len(content)
        assert etag == hashlib.md5(content).hexdigest()
        assert sha256 == hashlib.sha256(content).hexdigest()
        assert modified.endswith("+00:00")


def test_subject_has_the_designs_of_all_runs(address, folder, tmp_path):
    run("subject", tmp_path, address)
    designs = tmp_path / keys.design_folder("subj01")
    assert len(list(designs.iterdir())) == 14
    assert not list(tmp_path.rglob("*.partial")) + list(tmp_path.rglob(".*"))
    for key in (keys.roi("subj01"), keys.brainmask("subj01"), keys.responses("subj01")):
        assert (tmp_path / key).read_bytes() == (folder / key).read_bytes()
    assert len(ledger(tmp_path / "subject.tsv")) == 17


def test_session_has_the_task_runs_alone(address, folder, tmp_path):
    for _ in range(2):
        run("session", tmp_path, address)
    names = sorted(path.name for path in (tmp_path / "s01").iterdir())
    assert names == [f"timeseries_session01_run{run:02d}.nii.gz" for run in range(2, 14)]
    for name in names:
        original = folder / keys.timeseries_folder("subj01") / name
        assert (tmp_path / "s01" / name).read_bytes() == original.read_bytes()
    assert ledger(tmp_path / "session.tsv")[0][2].endswith("-2")


def test_a_killed_download_resumes_inside_an_object(relay, folder, tmp_path):
    relay.hold_after = 5 * MIB
    command = [sys.executable, "-m", "boldvision", "fetch"]
    command += arguments("session", tmp_path, relay.address)
    partial = tmp_path / "s01.partial"
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while bytes_of(partial.glob(f".{Path(BIG).name}.*.part")) < 3 * MIB:
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert not (tmp_path / "s01").exists()
    [part] = partial.glob(f".{Path(BIG).name}.*.part")
    kept = part.stat().st_size
    assert 0 < kept < (folder / BIG).stat().st_size

    relay.hold_after, relay.sent = None, 0
    run("session", tmp_path, relay.address)
    assert (tmp_path / "s01" / Path(BIG).name).read_bytes() == (folder / BIG).read_bytes()
    assert relay.sent < (folder / BIG).stat().st_size - kept + MIB
    assert not partial.exists()


def test_a_cut_connection_is_taken_up_again(relay, folder, tmp_path):
    relay.cut_after, relay.cuts_left = 2 * MIB, 1
    run("session", tmp_path, relay.address)
    assert relay.cuts_left == 0
    assert (tmp_path / "s01" / Path(BIG).name).read_bytes() == (folder / BIG).read_bytes()
    assert relay.sent < 1.5 * (folder / BIG).stat().st_size


def test_a_server_that_keeps_failing(relay, tmp_path, monkeypatch):
    bucket = s3.Bucket(S3(endpoint=relay.address))
    [remote] = bucket.heads([BIG])
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    relay.cuts_left = 99
    with pytest.raises(UserError, match="2 attempts failed at byte 0 of"):
        list(bucket.stream(remote))


def test_a_damaged_part_is_fetched_anew(address, folder, tmp_path):
    bucket = s3.Bucket(S3(endpoint=address))
    [remote] = bucket.heads([keys.stim_info()])
    target = tmp_path / "info.csv"
    download._part(remote, target).write_bytes(b"x" * remote.bytes)
    download._part(remote, target).with_name(".info.csv.older.part").write_bytes(b"x")
    download.download(bucket, {remote.key: target})
    assert target.read_bytes() == (folder / remote.key).read_bytes()
    assert os.listdir(tmp_path) == ["info.csv"]


def test_an_etag_that_never_agrees(address, tmp_path):
    from moto.backends import get_backend

    stored = get_backend("s3")["123456789012"]["aws"].buckets["natural-scenes-dataset"].keys
    stored[keys.stim_info()]._etag, before = "0" * 32, stored[keys.stim_info()]._etag
    try:
        with pytest.raises(UserError, match=f"do not have the ETag {'0' * 32}, twice"):
            run("experiment", tmp_path, address)
    finally:
        stored[keys.stim_info()]._etag = before
    assert not (tmp_path / keys.stim_info()).exists()
    assert not list(tmp_path.rglob("*.part"))


def test_an_object_that_changes_meanwhile(address, put):
    bucket = s3.Bucket(S3(endpoint=address))
    [remote] = bucket.heads([keys.stim_info()])
    put(remote.key, b"y" * remote.bytes)
    with pytest.raises(UserError, match="changed during the download"):
        list(bucket.stream(remote, 10))


def test_etag_of_parts(address, folder, tmp_path):
    bucket = s3.Bucket(S3(endpoint=address))
    [remote] = bucket.heads([BIG])
    assert remote.etag.endswith("-2")
    assert etag_agrees(folder / BIG, remote.etag) is True
    assert etag_agrees(folder / BIG, remote.etag, 8 * MIB) is True
    content = bytearray((folder / BIG).read_bytes())
    content[-1] ^= 1
    (tmp_path / "bad").write_bytes(content)
    assert etag_agrees(tmp_path / "bad", remote.etag, 8 * MIB) is False
    assert etag_agrees(tmp_path / "bad", remote.etag) is None
    assert "CRC" in gzip_fault(tmp_path / "bad") or "length" in gzip_fault(tmp_path / "bad")
    (tmp_path / "empty").touch()
    assert etag_agrees(tmp_path / "empty", hashlib.md5().hexdigest()) is True


def test_a_truncated_gzip(address, put, tmp_path):
    whole = gzip.compress(b"volume" * 1000)
    put(keys.timeseries("subj01", 1, 7), whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"session01_run07.nii.gz: damaged gzip"):
        run("session", tmp_path, address)
    assert not (tmp_path / "s01").exists()


def test_missing_objects_are_counted_before_anything_moves(address, tmp_path):
    with pytest.raises(UserError, match=r"12 of 29 objects are missing, .*session02_run01"):
        run("subject", tmp_path, address, subject=SUBJECT | {"sessions": 2})
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="missing"):
        run("session", tmp_path / "other", address, s3={"bucket": "no-such-bucket"})
    assert not (tmp_path / "other").exists()


def test_a_disk_too_small(address, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(1_500_000))
    with pytest.raises(UserError, match=r"12\.6 MB to download, 1\.5 MB free"):
        run("session", tmp_path, address)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up(address, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        run("session", tmp_path, address)


def test_terms_come_first(tmp_path):
    with pytest.raises(UserError, match=r"naturalscenesdataset\.org"):
        run("experiment", tmp_path, None)
    for endpoint in (None, "https://s3.us-east-2.amazonaws.com"):
        with pytest.raises(UserError, match="nsd_terms_accepted"):
            run("experiment", tmp_path, None, s3={"endpoint": endpoint})


def test_a_misspelt_setting(tmp_path):
    with pytest.raises(UserError, match="bukket"):
        run("experiment", tmp_path, None, s3={"bukket": "x"})
    with pytest.raises(UserError, match="the key `subject`"):
        run("session", tmp_path, None, subject=None)


def test_an_existing_copy_is_linked(folder, tmp_path):
    before = sorted(folder.rglob("*"))
    for part in ("experiment", "subject", "session", "images"):
        run(part, tmp_path, None, raw=str(folder))
    links = list((tmp_path / "s01").iterdir())
    assert len(links) == 12
    assert all(path.is_symlink() and path.stat().st_size for path in links)
    assert (tmp_path / keys.roi("subj01")).resolve() == (folder / keys.roi("subj01")).resolve()
    check_stack(tmp_path / "images" / "subj01.h5", folder)
    key, _, etag, _, sha256 = ledger(tmp_path / "session.tsv")[0]
    assert (key, etag) == (BIG, "")
    assert sha256 == hashlib.sha256((folder / BIG).read_bytes()).hexdigest()
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("behind", [False, True], ids=["itself", "behind a symbolic link"])
def test_an_existing_copy_that_is_the_root(behind, folder, tmp_path):
    root = tmp_path / "root"
    for key in (keys.expdesign(), keys.stim_info()):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes((folder / key).read_bytes())
    (tmp_path / "link").symlink_to(root)
    run("experiment", root, None, raw=str(tmp_path / "link" if behind else root))
    assert not (root / keys.expdesign()).is_symlink()
    assert (root / keys.expdesign()).read_bytes() == (folder / keys.expdesign()).read_bytes()


def test_an_existing_copy_that_lacks_a_file(folder, tmp_path):
    with pytest.raises(UserError, match=r"session02_run01.*no such file"):
        run("subject", tmp_path, None, raw=str(folder), subject=SUBJECT | {"sessions": 2})


def check_stack(path: Path, folder: Path) -> None:
    content = scipy.io.loadmat(folder / keys.expdesign())
    image_id = np.unique(content["subjectim"][0])
    stack = ImageStack(path)
    np.testing.assert_array_equal(stack.image_id, image_id)
    np.testing.assert_array_equal(stack.read(image_id), pixels()[image_id - 1])


@pytest.fixture
def root(folder, tmp_path) -> Path:
    run("experiment", tmp_path, None, raw=str(folder))
    return tmp_path


def test_images_by_ranges(relay, folder, root, monkeypatch):
    monkeypatch.setattr(stimuli, "GAP", 0)
    run("images", root, relay.address)
    check_stack(root / "images" / "subj01.h5", folder)
    assert relay.sent < 0.8 * (folder / keys.stimuli()).stat().st_size
    assert os.listdir(root / "images") == ["subj01.h5"]
    [key, size, etag, _, _], *shared = ledger(root / "images.tsv")
    numbers_and_ids = list(enumerate(shared_ids(folder), start=1))
    compared = [keys.shared_image(*numbers_and_ids[i]) for i in (0, 5, 9)]
    assert [line[0] for line in shared] == compared
    assert (key, int(size)) == (f"{keys.stimuli()}#subj01", 250 * 192)
    assert etag == hashlib.md5((folder / keys.stimuli()).read_bytes()).hexdigest()


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
    with part.open("ab") as file:
        file.write(b"half an image")
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
    assert os.listdir(root / "images") == ["subj01.h5"]


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


def test_an_existing_copy_without_shared_images(folder, root, tmp_path, capfd):
    copy = tmp_path / "copy"
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
