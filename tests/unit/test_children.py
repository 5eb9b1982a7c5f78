"""Programs end with the job that runs them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from boldvision import children

ROOT = Path(__file__).parents[2]
STAGE = "import sys; from boldvision.children import run_program; run_program(sys.argv[1:])"
WITH_CHILDREN = 'cd "$0"; sleep 300 & echo "$! $$" > part; mv part pids; wait'
ALONE = 'cd "$0"; echo $$ > part; mv part pids; exec sleep 300'


def alive(process):
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.survives(
    "jobs",
    "The job around fMRIPrep gets SIGTERM, or is killed",
    "fMRIPrep and its client end too, after SIGTERM with all that they have started",
)
@pytest.mark.parametrize(
    ("number", "script"),
    [(signal.SIGTERM, WITH_CHILDREN), (signal.SIGKILL, ALONE)],
    ids=["SIGTERM", "SIGKILL"],
)
def test_programs_end_with_their_job(number, script, tmp_path):
    command = [sys.executable, "-c", STAGE, "sh", "-c", script, str(tmp_path)]
    job = subprocess.Popen(command, cwd=ROOT)
    pids = []
    try:
        wait_until((tmp_path / "pids").exists)
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        assert all(map(alive, pids))
        job.send_signal(number)
        assert job.wait(20) == (143 if number == signal.SIGTERM else -9)
        wait_until(lambda: not any(map(alive, pids)))
    finally:
        for process in pids:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def test_one_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "GRACE_S", 0.2)
    script = 'trap "" TERM; echo $$ > pid; while :; do sleep 0.05; done'
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(subprocess.Popen, "wait", interrupt_when(tmp_path / "pid"))
        with pytest.raises(KeyboardInterrupt):
            children.run_program(["sh", "-c", script])
    assert not alive(int((tmp_path / "pid").read_text()))


def interrupt_when(path):
    """A `wait` in which the user presses Ctrl-C once the program has begun."""

    def wait(self, timeout=None):
        wait_until(lambda: path.exists() and path.read_text().strip())
        raise KeyboardInterrupt

    return wait


def test_exit_codes():
    handler = signal.getsignal(signal.SIGTERM)
    assert children.run_program(["sh", "-c", "exit 3"]) == 3
    assert children.run_program(["sh", "-c", "kill -9 $$"]) == -9
    assert signal.getsignal(signal.SIGTERM) is handler
