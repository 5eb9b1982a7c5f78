"""Stages `voxels` and `prepare`."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from boldvision.datasets.nsd import prepare, voxels
from boldvision.datasets.nsd.runs import TR_S
from boldvision.errors import UserError
from boldvision.signal.clean import clean
from boldvision.signal.region import Voxels
from boldvision.signal.volumes import read_masked
from tests.unit.signal_files import AFFINE, GRID, random_volumes, read_run, some_voxels, write_run

SUBJECT = {"number": 1, "sessions": 2, "rest_sessions": [2], "grid": GRID, "voxels": 5}


def arguments(tmp_path, session, **preprocessing):
    settings = {
        "subject": SUBJECT,
        "preprocessing": {"kind": "nsd_prep", "detrend": "cosine"} | preprocessing,
    }
    return [
        *("--timeseries", str(tmp_path / "runs"), "--voxels", str(tmp_path / "voxels.npz")),
        *("--subject", "subj01", "--session", str(session), "--settings", json.dumps(settings)),
        *("--out", str(tmp_path / "out.npy"), "--quality", str(tmp_path / "out.json")),
    ]


@pytest.fixture
def session_2(tmp_path):
    """A session with rest runs 1 and 14; its runs differ."""
    some_voxels().save(tmp_path / "voxels.npz")
    (tmp_path / "runs").mkdir()
    for run in range(1, 15):
        write_run(
            tmp_path / "runs" / f"timeseries_session02_run{run:02d}.nii.gz",
            random_volumes(seed=run),
        )
    return tmp_path


@pytest.mark.parametrize(("dtype", "threads"), [("float32", 1), ("float16", 2), ("float32", 5)])
def test_writes_the_task_runs_in_order(session_2, dtype, threads, monkeypatch):
    def early_runs_last(path, *how):
        time.sleep(0.002 * (14 - int(path.name[-9:-7])))
        return read_masked(path, *how)

    monkeypatch.setattr(prepare, "read_masked", early_runs_last)
    prepare.main([*arguments(session_2, 2, dtype=dtype), "--threads", str(threads)])
    series = np.load(session_2 / "out.npy", mmap_mode="r")
    assert series.shape == (12, 225, 5)
    assert series.dtype == dtype
    for task_run in range(1, 13):
        path = session_2 / "runs" / f"timeseries_session02_run{task_run + 1:02d}.nii.gz"
        expected, _ = clean(read_run(path), "cosine", 128.0, TR_S)
        np.testing.assert_array_equal(series[task_run - 1], expected.astype(dtype))


def test_runs_at_once_are_no_more_than_threads(session_2, monkeypatch):
    lock, at_once = threading.Lock(), []

    def counted(path, *how):
        with lock:
            at_once.append(at_once[-1] + 1 if at_once else 1)
        time.sleep(0.005)
        series = read_masked(path, *how)
        with lock:
            at_once.append(at_once[-1] - 1)
        return series

    monkeypatch.setattr(prepare, "read_masked", counted)
    prepare.main([*arguments(session_2, 2), "--threads", "3"])
    assert max(at_once) == 3


def test_reports_the_quality_of_each_run(session_2):
    prepare.main(arguments(session_2, 2))
    runs = json.loads((session_2 / "out.json").read_text())["runs"]
    assert [run["task_run"] for run in runs] == list(range(1, 13))
    assert runs[0]["file"] == "timeseries_session02_run02.nii.gz"
    assert runs[0]["mean"] == pytest.approx(600, abs=5)
    assert runs[0]["tsnr"] == pytest.approx(20, rel=0.2)
    assert (runs[0]["constant"], runs[0]["nonfinite"]) == (0, 0)


@pytest.mark.survives(
    "results",
    "A session's folder holds other runs than the configuration says",
    "The stage stops and names the runs that are missing and those that are not expected",
)
def test_refuses_other_rest_runs_than_configured(session_2):
    for run in range(1, 15):
        path = session_2 / "runs" / f"timeseries_session02_run{run:02d}.nii.gz"
        path.rename(path.with_name(path.name.replace("session02", "session01")))
    with pytest.raises(UserError, match=r"unexpected .*run13.*rest_sessions"):
        prepare.main(arguments(session_2, 1))


@pytest.mark.survives(
    "files",
    "One run of a session is damaged",
    "The stage names it and writes neither the series nor the report",
)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_leaves_nothing_behind_when_a_run_is_damaged(session_2, threads):
    path = session_2 / "runs" / "timeseries_session02_run09.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="run09"):
        prepare.main([*arguments(session_2, 2), "--threads", threads])
    assert {path.name for path in session_2.iterdir()} == {"runs", "voxels.npz"}


def test_voxels_stage_lists_positive_labels(tmp_path):
    labels = np.full(GRID, -1.0)
    labels.flat[some_voxels().index] = [1, 2, 1, 1, 3]
    labels.flat[3] = 0
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "roi.nii.gz")
    out = tmp_path / "voxels.npz"
    settings = json.dumps({"subject": SUBJECT})
    voxels.main(["--roi", str(tmp_path / "roi.nii.gz"), "--settings", settings, "--out", str(out)])
    found = Voxels.load(out)
    np.testing.assert_array_equal(found.index, some_voxels().index)
    assert found.shape == GRID
    np.testing.assert_allclose(found.affine, AFFINE)


KILLED_IN_THE_THIRD_RUN = """
import os, signal, sys
from boldvision.datasets.nsd import prepare
read, runs = prepare.read_masked, []
def read_or_die(path, *how):
    runs.append(path)
    if len(runs) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path, *how)
prepare.read_masked = read_or_die
prepare.main(sys.argv[1:])
"""


@pytest.mark.survives(
    "jobs",
    "The preparation of a session is killed",
    "Nothing half-written stays; a rerun completes",
)
def test_a_killed_job_leaves_no_output_and_a_rerun_completes(session_2):
    command = [sys.executable, "-c", KILLED_IN_THE_THIRD_RUN, *arguments(session_2, 2)]
    command += ["--threads", "2"]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (session_2 / "out.npy").exists()
    assert not (session_2 / "out.json").exists()
    prepare.main(arguments(session_2, 2))
    names = {path.name for path in session_2.iterdir()}
    assert names == {"runs", "voxels.npz", "out.npy", "out.json"}


@pytest.mark.survives(
    "results",
    "A prepared series would hold NaN or infinity",
    "The stage stops and names the run; nothing is written",
)
def test_only_finite_values_are_written(session_2, monkeypatch):
    def spoilt(series, *arguments):
        cleaned, report = clean(series, *arguments)
        cleaned[3, 2] = np.inf
        return cleaned, report

    monkeypatch.setattr(prepare, "clean", spoilt)
    with pytest.raises(UserError, match=r"run02\.nii\.gz: expected .* finite float32 .* found 1 "):
        prepare.main(arguments(session_2, 2))
    assert not list(session_2.glob("*out*"))


@pytest.mark.survives(
    "files",
    "The list of a region's voxels is of another kind, cut, or refers to another grid",
    "Every stage that reads it stops and names it",
)
@pytest.mark.parametrize("change", ["cut", "array", "html", "order", "range", "affine", "nothing"])
def test_voxels_that_are_not(tmp_path, change):
    path = tmp_path / "voxels.npz"
    good = {"index": some_voxels().index, "shape": np.array(GRID), "affine": AFFINE}
    changes = {
        "order": {"index": good["index"][::-1]},
        "range": {"index": good["index"] + 100},
        "affine": {"affine": AFFINE * np.nan},
    }
    np.savez(path, **(good | changes.get(change, {})))
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    if change == "array":
        with path.open("wb") as file:
            np.save(file, good["index"])
    if change == "html":
        path.write_text("<html>")
    if change == "nothing":
        path.unlink()
    with pytest.raises(UserError, match=r"voxels\.npz: expected the voxels of a region, found"):
        Voxels.load(path)
