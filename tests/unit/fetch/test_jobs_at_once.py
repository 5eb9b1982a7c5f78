"""Two jobs that fetch the same at once."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from copy_data import PARTS, argv
from fetch_data import fetched, run

from boldvision import files
from boldvision.datasets.nsd import fetch, keys
from boldvision.errors import UserError


@pytest.mark.survives(
    "jobs",
    "One session is fetched by two jobs at once, with or without Snakemake",
    "The second waits for the first; both end with the bucket's bytes",
)
def test_two_fetches_of_one_session(address, folder, tmp_path, monkeypatch):
    download, inside, together = fetch.download, [], []
    second = threading.Event()

    def noting(bucket, targets):
        inside.append(1)
        together.append(len(inside))
        if len(inside) == 2:
            second.set()
        second.wait(0.3)
        entries = download(bucket, targets)
        inside.pop()
        return entries

    monkeypatch.setattr(fetch, "download", noting)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run, "session", tmp_path, address) for _ in range(2)]
        for job in jobs:
            job.result()
    assert together == [1, 1]
    names = fetched(tmp_path / "s01")
    assert len(names) == 12
    for name in names:
        original = folder / keys.timeseries_folder("subj01") / name
        assert (tmp_path / "s01" / name).read_bytes() == original.read_bytes()


@pytest.mark.survives(
    "jobs",
    "A job is to fetch what another still works on after two minutes",
    "It is refused before anything moves; the message names the folder and the other process",
)
@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_kept_to_one_job(part, tmp_path, monkeypatch):
    places = {
        "experiment": keys.expdesign(),
        "stimulus_table": keys.stim_info(),
        "subject": keys.design_folder("subj01"),
        "images": "images/subj01.h5",
    }
    place = tmp_path / places.get(part, "out")
    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    monkeypatch.setitem(fetch.PARTS, part, lambda settings, args: [])
    with (
        files.only_job(place),
        pytest.raises(UserError, match=rf"{Path(place).name}: another job works there \(process"),
    ):
        fetch.main(argv(part, tmp_path))
    assert not fetched(tmp_path)
    assert fetch.main(argv(part, tmp_path)) == 0


@pytest.mark.survives(
    "places",
    "A network file system has no locks (Lustre without `flock`, NFS without its lock server)",
    "Jobs run without them; two must not then be started at once by hand",
)
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    monkeypatch.setitem(fetch.PARTS, "experiment", lambda settings, args: [])
    assert fetch.main(argv("experiment", tmp_path)) == 0
