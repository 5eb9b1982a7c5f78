"""The `prepare` stage: volumes of one session -> its clean series and a report on their quality."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from boldvision.cli import settings_from
from boldvision.config import NsdPrep, Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import (
    FILE_VOLUMES,
    TASK_RUNS,
    VOLUMES,
    file_runs,
    task_file_runs,
)
from boldvision.errors import UserError
from boldvision.signal.clean import RunQuality, clean
from boldvision.signal.region import Voxels
from boldvision.signal.session import write_session
from boldvision.signal.volumes import read_masked


def prepare_session(
    runs: list[Path],
    voxels: Voxels,
    preprocessing: NsdPrep,
    out: Path,
    quality: Path,
    threads: int = 1,
) -> None:
    """Clean the runs of one session, `threads` in memory at a time.

    Parameters
    ----------
    runs
        Volumes of task runs 1..12, in that order.
    voxels
        Which voxels.
    preprocessing
        How to clean, and the type on disk.
    out
        ``.npy`` [12, 225, voxels].
    quality
        JSON: `RunQuality` of each run, with its `task_run` and `file`.
    threads
        Runs at once; the files do not depend on it.

    Raises
    ------
    UserError
        A run is missing, damaged, or not what `read_masked` expects.
    """
    shape = (len(runs), VOLUMES, len(voxels.index))
    series = cleaned(runs, voxels, preprocessing, threads)
    write_session(series, shape, preprocessing.dtype, out, quality)


def cleaned(
    runs: list[Path], voxels: Voxels, preprocessing: NsdPrep, threads: int
) -> Iterator[tuple[str, np.ndarray, RunQuality]]:
    """File name, clean series and quality of each run in order, as :func:`clean` returns them."""
    tr_s = preprocessing.tr_s

    def of_run(path: Path) -> tuple[str, np.ndarray, RunQuality]:
        series = read_masked(path, voxels, VOLUMES, FILE_VOLUMES, tr_s)
        return path.name, *clean(series, preprocessing.detrend, preprocessing.cutoff_s, tr_s)

    # Decompression, which takes most of the time, leaves Python to other threads.
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(runs), threads):
            yield from pool.map(of_run, runs[first : first + threads])


def session_runs(folder: Path, name: str, subject: Subject, session: int) -> list[Path]:
    """Volumes of task runs 1..12 of a session, in that order.

    Parameters
    ----------
    folder
        Folder that holds the task runs of the session, with or without its rest runs.
    name, subject, session
        Whose runs.

    Raises
    ------
    UserError
        The folder does not hold exactly the runs that the configuration says: with other rest runs
        than expected, every task run would be paired with the wrong design.
    """

    def file_name(run: int) -> str:
        return Path(keys.timeseries(name, session, run)).name

    task = task_file_runs(subject, session)
    expected = {file_name(run) for run in file_runs(subject, session)}
    rest = expected - {file_name(run) for run in task}
    found = {path.name for path in folder.glob(f"timeseries_session{session:02d}_run*.nii.gz")}
    if found not in (expected, expected - rest):
        raise UserError(
            f"{folder}: expected the {len(expected)} runs of {name} session {session}, missing "
            f"{sorted(expected - found) or 'none'}, unexpected {sorted(found - expected) or 'none'}"
            "; download the session again, or correct `rest_sessions` in the configuration"
        )
    return [folder / file_name(run) for run in task]


def main(argv: list[str]) -> None:
    """Clean the BOLD series of one session."""
    parser = argparse.ArgumentParser(prog="boldvision prepare", description=__doc__)
    parser.add_argument("--timeseries", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--voxels", type=Path, required=True, help=".npz of the `voxels` stage")
    parser.add_argument("--subject", required=True, help="name, as in subj01")
    parser.add_argument("--session", type=int, required=True, help="1-based")
    parser.add_argument(
        "--settings", required=True, help="JSON with keys `subject` and `preprocessing`"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help=f".npy [{TASK_RUNS}, {VOLUMES}, voxels]"
    )
    parser.add_argument("--quality", type=Path, required=True, help="JSON")
    parser.add_argument("--threads", type=int, default=1, help="runs at once")
    arguments = parser.parse_args(argv)

    settings = settings_from(arguments.settings)
    subject = Subject(**settings["subject"])
    runs = session_runs(arguments.timeseries, arguments.subject, subject, arguments.session)
    prepare_session(
        runs,
        Voxels.load(arguments.voxels),
        NsdPrep(**settings["preprocessing"]),
        arguments.out,
        arguments.quality,
        arguments.threads,
    )
