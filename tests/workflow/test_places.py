"""Snakemake removes the outputs of failed jobs, through links too: never in the user's data."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_nothing_runs_on_a_copy_behind_a_link(tmp_path):
    kept = tmp_path / "nsd/nsddata_timeseries/ppdata/subj01/func1pt8mm/design/kept.tsv"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "mini2").symlink_to(tmp_path / "nsd")
    for name in ("config", "boldvision"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--cores", "1", "--config", "dataset=mini2", "raw=nsd", "--", "table_1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "where jobs write and remove files" in done.stderr
    assert kept.exists()


@pytest.mark.survives(
    "places",
    "A node of the cluster does not see the folder of `raw`",
    "Jobs that do not read it run there: only Snakemake itself looks through copy and outputs",
)
def test_jobs_do_not_look_through_the_copy(snakemake):
    job = ("--allowed-rules", "download_experiment", "--target-jobs", "download_experiment:")
    snakemake("--mode", "subprocess", "-n", "--cores", "1", "--config", "raw=gone", *job)
