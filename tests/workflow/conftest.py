"""Run Snakemake without disturbing, or being disturbed by, a run in the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_SNAKEMAKE = """
import atexit, pathlib, re, socket
def refuse(*_):
    raise OSError("a dry run needs no network")
socket.socket.connect = refuse
def report_peak():
    status = pathlib.Path("/proc/self/status").read_text()
    pathlib.Path("peak_mb").write_text(str(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024))
atexit.register(report_peak)
"""


@pytest.fixture(scope="session")
def snakemake(tmp_path_factory):
    """Function that runs Snakemake in an empty folder, or another, and returns what it printed."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "sitecustomize.py").write_text(IN_SNAKEMAKE)
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # jobs say `python`
    }

    def run(*arguments, place=folder, snakefile=ROOT / "Snakefile", fails=False):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
        done = subprocess.run(
            [*command, *arguments], cwd=place, env=environment, capture_output=True, text=True
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    # Of the process alone; ru_maxrss of a child includes its parent's at the time of the fork.
    run.peak_mb = lambda: int((folder / "peak_mb").read_text())
    return run


@pytest.fixture(scope="session")
def official_weights(tmp_path_factory):
    """A folder laid out as official weights are, of empty files: enough for a plan."""
    folder = tmp_path_factory.mktemp("official")
    for number in (1, 2, 5, 7):
        place = folder / f"sub{number:02d}" / "checkpoint"
        place.mkdir(parents=True)
        (place / "mp_rank_00_model_states.pt").touch()
        (place / "zero_pp_rank_0_mp_rank_00_optim_states.pt").touch()
    return folder
