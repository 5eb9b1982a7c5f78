"""The `trials` stage: one row per trial of a subject, with its place in the series.

The table comes from nsd_expdesign.mat and is checked against the design file of every run, which
says the same in another way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from boldvision.cli import settings_from
from boldvision.config import Design, Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.design import (
    REPETITIONS,
    ROWS_PER_SLOT,
    ExperimentDesign,
    image_sequence,
    read_experiment_design,
    read_run_design,
)
from boldvision.datasets.nsd.runs import TR_S, file_runs, task_file_runs
from boldvision.errors import UserError
from boldvision.trials.table import write_trials


def trial_table(experiment: ExperimentDesign, subject: Subject) -> pd.DataFrame:
    """Trials of a subject in order of presentation.

    Parameters
    ----------
    experiment
        Contents of nsd_expdesign.mat.
    subject
        Whose trials; sessions beyond ``subject.sessions`` are left out.

    Returns
    -------
    pandas.DataFrame
        `trial` (0-based), `session` (1-based), `task_run` (1..12), `file_run` (1..14), `onset_row`
        (0-based design row: slot q of a run starts in row 3 q), `onset_s` (s after the run began),
        `image_id` (1-based), `repetition` (0..2), `shared`.

    Raises
    ------
    UserError
        The experiment has fewer sessions, or a complete subject's images are not as `experiment`
        says.
    """
    image_id = image_sequence(experiment, subject.number, subject.sessions)
    session, task_run, slot = np.nonzero(experiment.stimpattern[: subject.sessions])
    file_run = np.array([task_file_runs(subject, s + 1) for s in range(subject.sessions)])
    trials = pd.DataFrame(
        {
            "trial": np.arange(len(image_id)),
            "session": session + 1,
            "task_run": task_run + 1,
            "file_run": file_run[session, task_run],
            "onset_row": slot * ROWS_PER_SLOT,
            "onset_s": slot * ROWS_PER_SLOT * TR_S,
            "image_id": image_id,
        }
    )
    trials["repetition"] = trials.groupby("image_id").cumcount()
    trials["shared"] = trials["image_id"].isin(experiment.shared_image_ids)
    if subject.sessions == len(experiment.stimpattern):
        _check_sizes(trials, experiment, subject)
    return trials


def check_against_designs(trials: pd.DataFrame, folder: Path, name: str, subject: Subject) -> None:
    """Compare the table with the design file of every run.

    Raises
    ------
    UserError
        A task run's design has other images or other rows than the table, or a rest run's design
        is not all zeros.
    """
    by_run = {run: rows for run, rows in trials.groupby(["session", "file_run"])}
    for session in range(1, subject.sessions + 1):
        for run in file_runs(subject, session):
            path = folder / Path(keys.design(name, session, run)).name
            rows = read_run_design(path)
            onsets = np.flatnonzero(rows)
            if (session, run) not in by_run:
                if onsets.size:
                    raise UserError(
                        f"{path}: expected zeros only, since the configuration says that this run "
                        f"is rest, found {onsets.size} trials; correct `rest_sessions`"
                    )
                continue
            expected = by_run[session, run]
            if not (
                np.array_equal(onsets, expected["onset_row"])
                and np.array_equal(rows[onsets], expected["image_id"])
            ):
                raise UserError(
                    f"{path}: expected the {len(expected)} trials of nsd_expdesign.mat for "
                    f"{name} session {session} task run {expected['task_run'].iloc[0]}, the first "
                    f"image {expected['image_id'].iloc[0]} in row {expected['onset_row'].iloc[0]}; "
                    f"found {len(onsets)} trials, the first {rows[onsets[:1]]} in {onsets[:1]}; "
                    "correct `number` or `rest_sessions` of the subject, or fetch the file again"
                )


def _check_sizes(trials: pd.DataFrame, experiment: ExperimentDesign, subject: Subject) -> None:
    """Raise UserError unless every image occurs three times and the shared ones are all there."""
    for what, image_id, expected in (
        ("all", trials["image_id"], experiment.subject_image_ids[subject.number - 1]),
        ("shared", trials["image_id"][trials["shared"]], experiment.shared_image_ids),
    ):
        found, counts = np.unique(image_id, return_counts=True)
        if not np.array_equal(found, np.sort(expected)) or (counts != REPETITIONS).any():
            raise UserError(
                f"subject {subject.number}: expected {len(expected)} images ({what}) x "
                f"{REPETITIONS} trials, found {len(found)} images in {counts.sum()} trials; "
                "fetch nsd_expdesign.mat again"
            )


def main(argv: list[str]) -> None:
    """List the trials of one subject."""
    parser = argparse.ArgumentParser(prog="boldvision trials", description=__doc__)
    parser.add_argument("--expdesign", type=Path, required=True, help="nsd_expdesign.mat")
    parser.add_argument("--designs", type=Path, required=True, help="folder of the runs' designs")
    parser.add_argument("--subject", required=True, help="name, as in subj01")
    parser.add_argument("--settings", required=True, help="JSON: `subject` and `design`")
    parser.add_argument("--out", type=Path, required=True, help=".parquet")
    arguments = parser.parse_args(argv)

    settings = settings_from(arguments.settings)
    subject = Subject(**settings["subject"])
    experiment = read_experiment_design(arguments.expdesign, Design(**settings["design"]))
    trials = trial_table(experiment, subject)
    check_against_designs(trials, arguments.designs, arguments.subject, subject)
    write_trials(trials, arguments.out)
