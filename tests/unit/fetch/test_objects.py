"""The download of whole objects, against a real S3 server on loopback."""

import errno
import gzip
import hashlib
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from decoder_data import REPOSITORY
from fetch_data import BIG, MIB, SUBJECT, arguments, bytes_of, check_stack, ledger, run

from boldvision.config import S3
from boldvision.errors import UserError
from boldvision.nsd import download, keys, s3
from boldvision.nsd.integrity import etag_agrees, gzip_fault


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
    child = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
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
