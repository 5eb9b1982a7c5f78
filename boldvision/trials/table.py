"""The trial table, one row per trial of a subject, with its place in the series; and its splits.

A dataset makes the table, in order of presentation, with at least the columns `trial` (0-based),
`session` and `task_run` (1-based), `onset_s` (s after the run began), `image_id` (1-based),
`repetition` (0-based) and `shared` (whether every subject saw the image). A split is a file of its
own, so that another one trains nothing else again: columns `trial` and `split`, one of `PARTS`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.parquet import read_table

COLUMNS = {"trial": 0, "session": 1, "task_run": 1, "image_id": 1, "onset_s": 0}
"""Columns that windows are found by, and their least value."""

PARTS = {"train", "test", "excluded"}
"""What a split says of a trial."""


def read_trials(path: str | Path) -> pd.DataFrame:
    """The trial table of a subject.

    Raises
    ------
    UserError
        The file is missing or damaged, or a column is missing or holds what it cannot.
    """
    remedy = "run the stage `trials` again"
    kinds = dict.fromkeys(COLUMNS, "i") | {"onset_s": "f"}
    trials = read_table(path, kinds, "a table of trials (Parquet)", remedy)
    for name, least in COLUMNS.items():
        wrong = ~(trials[name] >= least) | np.isinf(trials[name])
        if wrong.any():
            raise UserError(
                f"{path}: expected {name} from {least}, found {trials[name][wrong].iloc[0]}; "
                f"{remedy}"
            )
    return trials


def write_trials(trials: pd.DataFrame, path: Path) -> None:
    """Write a trial table, with checksums of its pages."""
    with atomic(path) as part:
        trials.to_parquet(part, index=False, write_page_checksum=True)


def read_split(path: str | Path, trials: pd.DataFrame) -> np.ndarray:
    """Part of each of the trials, [trials] of `PARTS`.

    Parameters
    ----------
    path
        What the stage `split` wrote.
    trials
        The whole trial table of the subject.

    Raises
    ------
    UserError
        The file is missing or damaged, or is of other trials.
    """
    remedy = "run the stage `split` again"
    found = read_table(path, {"trial": "i", "split": "O"}, "a split of trials (Parquet)", remedy)
    if not np.array_equal(found["trial"], trials["trial"]):
        raise UserError(
            f"{path}: expected the {len(trials)} trials of the trial table, found others "
            f"({len(found)}); {remedy}"
        )
    if unknown := set(found["split"]) - PARTS:
        raise UserError(f"{path}: expected train, test or excluded, found {unknown}; {remedy}")
    return found["split"].to_numpy()


def write_split(trials: pd.DataFrame, parts: np.ndarray, path: Path) -> None:
    """Write a split of a trial table, with checksums of its pages.

    Raises
    ------
    UserError
        `parts` are not one of `PARTS` for each trial.
    """
    if len(parts) != len(trials) or not set(parts) <= PARTS:
        raise UserError(
            f"{path}: expected train, test or excluded for each of {len(trials)} trials, found "
            f"{len(parts)} values, such as {sorted(map(str, set(parts)))[:4]}; correct the split"
        )
    table = pd.DataFrame({"trial": trials["trial"].to_numpy(), "split": parts})
    with atomic(path) as part:
        table.to_parquet(part, index=False, write_page_checksum=True)
