"""Runs of a session, and which of its files hold the task rather than rest.

A session has 12 task runs. Where resting-state runs were added it has 14 files, of which the first
and the last are rest (nsddatapaper code, nsdsetup.m and export.m).
"""

from __future__ import annotations

from boldvision.config import Subject
from boldvision.errors import UserError

TASK_RUNS = 12
"""Task runs of a session."""

TR_S = 4 / 3
"""Sampling period of func1pt8mm and of the rows of a design, s (NSD Data Manual, time series)."""

FILE_VOLUMES = 226
"""Volumes in the file of a run."""

VOLUMES = 225
"""Volumes used: those with a row in the design. 225 x 4/3 s = 300 s."""

RUN_S = VOLUMES * TR_S
"""Length of a task run, s."""

STIMULUS_S = 3.0
"""How long an image is shown, s."""

TRIAL_S = 4.0
"""From the onset of an image to the next, s, without a blank trial between."""

TRIALS_ODD_RUN = 63
TRIALS_EVEN_RUN = 62
TRIALS_PER_SESSION = TASK_RUNS // 2 * (TRIALS_ODD_RUN + TRIALS_EVEN_RUN)


def trials_in_run(task_run: int) -> int:
    """Trials of task run 1..12."""
    return TRIALS_ODD_RUN if task_run % 2 else TRIALS_EVEN_RUN


def file_runs(subject: Subject, session: int) -> list[int]:
    """All runs of a session as its files number them: 1..12, or 1..14 with rest.

    Raises
    ------
    UserError
        The subject has no such session.
    """
    _require_session(subject, session)
    rest = 2 if session in subject.rest_sessions else 0
    return list(range(1, TASK_RUNS + rest + 1))


def task_file_runs(subject: Subject, session: int) -> list[int]:
    """File runs of task runs 1..12, in that order.

    Raises
    ------
    UserError
        The subject has no such session.
    """
    runs = file_runs(subject, session)
    return runs if len(runs) == TASK_RUNS else runs[1:-1]


def _require_session(subject: Subject, session: int) -> None:
    if not 1 <= session <= subject.sessions:
        raise UserError(
            f"session {session}: subject {subject.number} has sessions 1 to {subject.sessions}; "
            "see `subjects` in the configuration"
        )
