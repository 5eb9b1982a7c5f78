"""Which of a subject's raw BIDS files fMRIPrep needs, and where its container sees them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from boldvision.config import Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.download import writing
from boldvision.datasets.nsd.runs import TASK_RUNS
from boldvision.errors import UserError

RUN_FILES = ("bold.nii.gz", "bold.json", "events.tsv")
T1W = re.compile(r"/anat/[^/]*_T1w\.(nii\.gz|json)")


def fmriprep_keys(listed: list[str], subject: Subject) -> list[str]:
    """Keys of the description of the dataset, T1w images, and runs and fieldmaps of core sessions.

    Rest runs are among them: a fieldmap that names a missing run makes the dataset invalid.

    Parameters
    ----------
    listed
        Keys directly in ``nsddata_rawdata/`` and all of the subject's.
    subject
        Whose, and how many core sessions; other sessions are left out.

    Raises
    ------
    UserError
        A task run or every T1w image is missing.
    """
    number, sessions = subject.number, range(1, subject.sessions + 1)
    runs = {
        keys.raw_run(number, session, run, file)
        for session in sessions
        for run in range(1, TASK_RUNS + 1)
        for file in RUN_FILES
    }
    missing = sorted(runs - set(listed))
    if missing:
        raise UserError(
            f"{keys.raw_subject(number)}, task runs: {keys.the_missing(missing, len(runs))}; check "
            "`s3` and `raw`, or lower `sessions` of the subject to those that are there"
        )
    anatomy = {key for key in listed if T1W.search(key)}
    if not any(key.endswith(".nii.gz") for key in anatomy):
        raise UserError(
            f"{keys.raw_subject(number)}: expected a T1w image, found none among {len(listed)} "
            "files; check `s3` and `raw`"
        )
    folders = [keys.raw_session(number, session) for session in sessions]
    core = tuple(folder + kind for folder in folders for kind in ("func/", "fmap/"))
    return [
        key
        for key in listed
        if "/" not in key.removeprefix(keys.RAWDATA) or key in anatomy or key.startswith(core)
    ]


def dereference(path: Path) -> None:
    """Replace a symbolic link by the file itself: a container sees only its own folders.

    A hard link, which takes no space, or on another file system a copy.
    """
    if not path.is_symlink():
        return
    source = path.resolve()
    path.unlink()
    try:
        os.link(source, path)
    except OSError:
        with writing(path):
            shutil.copyfile(source, path)
