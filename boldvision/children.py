"""Programs that end with the job that runs them, and all that they have started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""

_LIBC = ctypes.CDLL(None)

GRACE_S = 20.0
"""From SIGTERM to SIGKILL, s; less than `boldvision.launcher.GRACE_S`."""


def run_program(argv: list[str]) -> int:
    """Run a program in a process group of its own, which ends when this process does.

    On SIGTERM or an interrupt the whole group is ended before this process goes on to end; if this
    process is killed, the program itself gets SIGTERM from the kernel.

    Parameters
    ----------
    argv
        Never read by a shell.

    Returns
    -------
    int
        Its exit code, negative after a signal.
    """
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),
        )
        try:
            # With a timeout, wait() polls: a signal that another thread receives would not end a
            # blocking wait, and the handler would not run.
            return child.wait(threading.TIMEOUT_MAX)
        except BaseException:
            _end_group(child)
            raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def end_with_parent(number: int) -> None:
    """Let the kernel send this process a signal when its parent ends, however it ends."""
    _LIBC.prctl(PR_SET_PDEATHSIG, number)


def _leave(number: int, _) -> None:
    raise SystemExit(128 + number)


def _end_group(child: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        deadline = time.monotonic() + GRACE_S
        while _exists(child) and time.monotonic() < deadline:
            time.sleep(0.05)


def _exists(child: subprocess.Popen) -> bool:
    """Whether any process of the group is left; one that only waits to be reaped counts."""
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True
