"""The `prepare_fmriprep` stage: fMRIPrep's derivatives of one session -> its clean series."""

from __future__ import annotations

import argparse
from pathlib import Path

from boldvision.cli import settings_from
from boldvision.config import Fmriprep, Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import TASK_RUNS, file_runs
from boldvision.signal.derivatives import cleaned, run_files
from boldvision.signal.session import write_session
from boldvision.signal.surface import VERTICES


def session_runs(
    derivatives: Path, subject: Subject, session: int, space: str
) -> list[tuple[Path, ...]]:
    """Files of task runs 1..12: a volume file each, or a left and a right surface file.

    Parameters
    ----------
    derivatives
        Folder of fMRIPrep's output, with ``sub-01`` and so on in it.
    subject, session
        Whose runs.
    space
        Output space.

    Raises
    ------
    UserError
        A run has no file or several.
    """
    file_runs(subject, session)  # the session exists
    number = subject.number
    folder = derivatives / keys.raw_session(number, session).removeprefix(keys.RAWDATA)
    return [
        run_files(folder / "func", keys.bids_run(number, session, run), space)
        for run in range(1, TASK_RUNS + 1)
    ]


def main(argv: list[str]) -> None:
    """Clean the BOLD series of one session on fsaverage5 (paper, Table 5)."""
    parser = argparse.ArgumentParser(prog="boldvision prepare_fmriprep", description=__doc__)
    parser.add_argument("--derivatives", type=Path, required=True, help="folder with sub-01 …")
    parser.add_argument("--session", type=int, required=True, help="1-based")
    parser.add_argument(
        "--settings", required=True, help="JSON with keys `subject` and `preprocessing`"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help=f".npy [{TASK_RUNS}, volumes, {VERTICES}]"
    )
    parser.add_argument("--quality", type=Path, required=True, help="JSON")
    arguments = parser.parse_args(argv)

    settings = settings_from(arguments.settings)
    preprocessing = Fmriprep(**settings["preprocessing"])
    runs = session_runs(
        arguments.derivatives,
        Subject(**settings["subject"]),
        arguments.session,
        preprocessing.space,
    )
    write_session(
        cleaned(runs, preprocessing),
        (len(runs), preprocessing.volumes, VERTICES),
        preprocessing.dtype,
        arguments.out,
        arguments.quality,
    )
