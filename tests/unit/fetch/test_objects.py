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
from fetch_data import BIG, MIB, SUBJECT, arguments, bytes_of, check_stack, fetched, ledger, run

from boldvision import cli
from boldvision.config import S3
from boldvision.datasets.nsd import download, keys, s3, transport
from boldvision.datasets.nsd.integrity import agrees, checksums, gzip_fault
from boldvision.errors import UserError


def test_experiment_and_its_ledger(address, folder, tmp_path):
    run("experiment", tmp_path, address)
    lines = ledger(tmp_path / "experiment.tsv")
    assert [line[0] for line in lines] == [keys.expdesign()]
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
    assert not list(tmp_path.rglob("*.partial")) + list(tmp_path.rglob(".*.part"))
    key = keys.roi("subj01")
    assert (tmp_path / key).read_bytes() == (folder / key).read_bytes()
    assert len(ledger(tmp_path / "subject.tsv")) == 15


def test_session_has_the_task_runs_alone(address, folder, tmp_path):
    for _ in range(2):
        run("session", tmp_path, address)
    names = sorted(path.name for path in (tmp_path / "s01").iterdir())
    assert names == [f"timeseries_session01_run{run:02d}.nii.gz" for run in range(2, 14)]
    for name in names:
        original = folder / keys.timeseries_folder("subj01") / name
        assert (tmp_path / "s01" / name).read_bytes() == original.read_bytes()
    assert ledger(tmp_path / "session.tsv")[0][2].endswith("-2")


@pytest.mark.survives(
    "jobs",
    "A download is killed in the middle of an object",
    "The next goes on where it stopped, inside the object",
)
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


@pytest.mark.survives(
    "patience",
    "A connection is cut in the middle of a body",
    "The transfer is taken up again where it stopped",
)
def test_a_cut_connection_is_taken_up_again(relay, folder, tmp_path):
    relay.cut_after, relay.cuts_left = 2 * MIB, 1
    run("session", tmp_path, relay.address)
    assert relay.cuts_left == 0
    assert (tmp_path / "s01" / Path(BIG).name).read_bytes() == (folder / BIG).read_bytes()
    assert relay.sent < 1.5 * (folder / BIG).stat().st_size


@pytest.mark.survives(
    "patience",
    "A server drops every connection",
    "After eight tries in a row, two minutes, the job stops and names object, byte and error",
)
def test_a_server_that_keeps_failing(relay, tmp_path, monkeypatch):
    bucket = s3.Bucket(S3(endpoint=relay.address))
    [remote] = bucket.heads([BIG])
    monkeypatch.setattr(transport, "ATTEMPTS", 2)
    relay.cuts_left = 99
    with pytest.raises(UserError, match=r"from byte 0 of \d+: 2 attempts failed"):
        list(bucket.stream(remote))


@pytest.mark.parametrize("too_long", [0, 9])
@pytest.mark.survives(
    "results",
    "What an earlier job left of an object is damaged",
    "It is found by the checksum and fetched anew",
)
def test_a_damaged_part_is_fetched_anew(too_long, address, folder, tmp_path):
    bucket = s3.Bucket(S3(endpoint=address))
    [remote] = bucket.heads([keys.stim_info()])
    target = tmp_path / "info.csv"
    download._part(remote, target).write_bytes(b"x" * (remote.bytes + too_long))
    download._part(remote, target).with_name(".info.csv.older.part").write_bytes(b"x")
    download.download(bucket, {remote.key: target})
    assert target.read_bytes() == (folder / remote.key).read_bytes()
    assert os.listdir(tmp_path) == ["info.csv"]


@pytest.mark.survives(
    "results",
    "An object changes while it is fetched",
    "The job stops: versions are not patched together",
)
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
    md5 = next(checksum for checksum in remote.checksums if checksum.algorithm == "md5")
    assert bucket.part_bytes(remote) == 8 * MIB
    size = (folder / BIG).stat().st_size
    assert agrees(folder / BIG, size, md5) is True
    assert agrees(folder / BIG, size, md5, 8 * MIB) is True
    content = bytearray((folder / BIG).read_bytes())
    content[-1] ^= 1
    (tmp_path / "bad").write_bytes(content)
    assert agrees(tmp_path / "bad", size, md5, 8 * MIB) is False
    assert agrees(tmp_path / "bad", size, md5) is None
    assert "CRC" in gzip_fault(tmp_path / "bad") or "length" in gzip_fault(tmp_path / "bad")
    (tmp_path / "empty").touch()
    [empty] = checksums({"ETag": f'"{hashlib.md5().hexdigest()}"'})
    assert agrees(tmp_path / "empty", 0, empty) is True


@pytest.mark.survives(
    "results",
    "A gzip file is truncated in the bucket itself",
    "The job stops, names it and keeps nothing",
)
def test_a_truncated_gzip(address, put, tmp_path):
    whole = gzip.compress(b"volume" * 1000)
    put(keys.timeseries("subj01", 1, 7), whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"session01_run07.nii.gz: damaged gzip"):
        run("session", tmp_path, address)
    assert not (tmp_path / "s01").exists()


@pytest.mark.survives(
    "patience",
    "Objects are missing in the bucket",
    "They are counted, and the first ten named, before anything is fetched",
)
def test_missing_objects_are_counted_before_anything_moves(address, tmp_path):
    missing = r"12 of 27 files are missing: .*session02_run10.tsv, and 2 more"
    with pytest.raises(UserError, match=missing):
        run("subject", tmp_path, address, subject=SUBJECT | {"sessions": 2})
    with pytest.raises(UserError, match="missing"):
        run("session", tmp_path, address, s3={"bucket": "no-such-bucket"})
    assert not fetched(tmp_path)


@pytest.mark.survives(
    "files",
    "The disk is too small for a download",
    "The job stops before anything is fetched and says both sizes",
)
def test_a_disk_too_small(address, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(1_500_000))
    with pytest.raises(UserError, match=r"12\.6 MB to download, 1\.5 MB free"):
        run("session", tmp_path, address)
    assert not fetched(tmp_path)


@pytest.mark.survives(
    "files",
    "The disk fills up during a download",
    "The job stops and names the file; the next goes on there",
)
def test_a_disk_that_fills_up(address, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(UserError, match=r"timeseries_\S+\.part: No space left .* the disk is full"):
        run("session", tmp_path, address)
    monkeypatch.undo()
    run("session", tmp_path, address)


def test_terms_come_first(tmp_path):
    with pytest.raises(UserError, match=r"naturalscenesdataset\.org"):
        run("experiment", tmp_path, None)
    for endpoint in (None, "https://s3.us-east-2.amazonaws.com"):
        with pytest.raises(UserError, match="nsd_terms_accepted"):
            run("experiment", tmp_path, None, s3={"endpoint": endpoint})


def test_a_misspelt_setting(tmp_path, capsys):
    misspelt = arguments("experiment", tmp_path, None, s3={"bukket": "x"})
    assert cli.main(["fetch", *misspelt]) == 1
    assert "s3.bukket: there is no such key" in capsys.readouterr().err
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


def test_an_existing_copy_that_lacks_a_file(folder, tmp_path):
    with pytest.raises(UserError, match=r"12 of 27 files are missing: .*session02_run01"):
        run("subject", tmp_path, None, raw=str(folder), subject=SUBJECT | {"sessions": 2})
