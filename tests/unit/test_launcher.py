"""Stages end with the Snakemake that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from boldvision import launcher

REPOSITORY = Path(__file__).parents[2]

WORKFLOW = """
import subprocess, sys
from boldvision.launcher import announce_launcher
announce_launcher()
subprocess.run(["bash", "-c", sys.argv[1] + "; true"])
"""
"""Announces itself as Snakemake does, and waits for a shell that waits for a stage."""

SCRIPT = """
import time
from boldvision.report.log import logged
with logged({log!r}):
    time.sleep(60)
"""


def start(command):
    """A workflow in a process of its own, which runs a shell command."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKFLOW, command],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
    )


def children(workflow):
    """Shell, stage and the stage's own child, once that runs."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and workflow.poll() is None:
        found = {p.name(): p for p in psutil.Process(workflow.pid).children(recursive=True)}
        if "sleep" in found:
            return found
        time.sleep(0.02)
    raise AssertionError("the stage never ran")


def all_end(processes, timeout_s):
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    for process in alive:
        process.kill()
    return not alive


@pytest.mark.survives(
    "jobs",
    "Snakemake is killed with SIGKILL, or the shell of a job is",
    "Its jobs and their children end within seconds; a rerun does not overlap them",
)
@pytest.mark.parametrize("killed", ["workflow", "shell"])
def test_a_stage_and_its_child_end_with_the_workflow(tmp_path, killed):
    (tmp_path / "key").touch()
    stage = f"'{sys.executable}' -m boldvision serve '{tmp_path}' --bucket nsd -- sleep 60"
    with start(stage) as workflow:
        running = children(workflow)
        shell = running.pop("bash")
        assert len(running) == 2
        (workflow if killed == "workflow" else shell).kill()
        assert all_end(list(running.values()), timeout_s=10)


@pytest.mark.survives(
    "jobs",
    "Snakemake is killed with SIGKILL while it draws a figure or writes a table",
    "The script ends within seconds, as stages do",
)
def test_a_script_ends_with_the_workflow(tmp_path):
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(SCRIPT.format(log=str(log)))
    with start(f"PYTHONPATH=. '{sys.executable}' '{script}'") as workflow:
        deadline = time.monotonic() + 30
        while not log.exists():
            assert time.monotonic() < deadline, "the script never ran"
            time.sleep(0.02)
        running = psutil.Process(workflow.pid).children(recursive=True)
        assert len(running) == 2
        workflow.kill()
        assert all_end(running, timeout_s=10)


def test_without_a_launcher_nothing_is_followed(monkeypatch):
    started = []
    monkeypatch.setattr(launcher.threading, "Thread", lambda **thread: started.append(thread))
    for value in ("", "0", "no number", "99999999", str(os.getpid())):
        monkeypatch.setenv(launcher.VARIABLE, value)
        launcher.end_with_launcher()
    assert not started


@pytest.mark.survives(
    "jobs",
    "A program between Snakemake and a job has a name that is no text",
    "The job finds the Snakemake that started it, and runs",
)
def test_a_program_may_have_any_name(monkeypatch):
    """The kernel cuts names after 15 bytes, in the middle of a letter too."""
    comm, parent = Path("/proc/self/comm"), str(os.getppid())
    before = comm.read_bytes().strip()
    monkeypatch.setattr(launcher.os, "getppid", os.getpid)
    comm.write_bytes("vierzehn Zeichü".encode()[:15])
    try:
        assert launcher._descends_from(parent) is True
    finally:
        comm.write_bytes(before)


def test_a_proc_that_cannot_be_read_ends_nothing(monkeypatch):
    """Too many open files, say: the launcher is not therefore gone."""
    signals, looks = [], iter([None, None, False])
    monkeypatch.setattr(launcher, "_descends_from", lambda _: next(looks))
    monkeypatch.setattr(launcher.time, "sleep", lambda _: signals.append("slept"))
    monkeypatch.setattr(launcher.os, "kill", lambda _, number: signals.append(number))
    launcher._follow("1")
    assert signals == ["slept", "slept", signal.SIGTERM, "slept", signal.SIGKILL]
