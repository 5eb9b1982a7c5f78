"""Jobs end with the Snakemake that started them, however it ends.

A shell lies between the two, so the kernel's parent-death signal would not arrive. A job that went
on after ``kill -9`` of Snakemake, or of that shell, would overlap its own rerun.
"""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "BOLDVISION_LAUNCHER"
"""Environment variable with the process id of the Snakemake that runs the workflow."""

POLL_S = 0.5
"""How often a stage looks whether it still descends from its launcher, s."""

GRACE_S = 60.0
"""From SIGTERM, after which training saves its state, to SIGKILL, s."""


def announce_launcher() -> None:
    """Called by the workflow: the jobs that this process starts end with it."""
    os.environ[VARIABLE] = str(os.getpid())


def end_with_launcher() -> None:
    """Called by every stage: end when the launcher does, if one was announced.

    A launcher that is not an ancestor is another machine's, or another container's, and ignored.
    """
    launcher = os.environ.get(VARIABLE, "")
    if _descends_from(launcher):
        threading.Thread(target=_follow, args=(launcher,), daemon=True).start()


def _follow(launcher: str) -> None:
    while _descends_from(launcher) is not False:
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _descends_from(launcher: str) -> bool | None:
    """Whether a process id is an ancestor's; `None` if /proc does not tell.

    The children of a process that ends get another parent at once, whoever waits for it.
    """
    process = str(os.getppid())
    while process != launcher:
        if process == "0":
            return False
        try:
            # In bytes: a program's name may be anything, cut in the middle of a letter.
            with open(f"/proc/{process}/stat", "rb") as file:
                process = file.read().rpartition(b")")[2].split()[1].decode()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return False
        except OSError:
            return None
    return process != "0"
