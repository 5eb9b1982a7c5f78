"""The trial table: one row per trial of a subject, with its place in the series and its splits.

A dataset makes it, in order of presentation, with at least the columns `trial` (0-based), `session`
and `task_run` (1-based), `onset_s` (s after the run began), `image_id` (1-based), `repetition`
(0-based) and `shared` (whether every subject saw the image).
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


def read_trials(path: str | Path, *splits: str) -> pd.DataFrame:
    """The trial table of a subject, with the columns of these splits.

    Raises
    ------
    UserError
        The file is missing or damaged, or a column is missing or holds what it cannot.
    """
    remedy = "run the stage `trials` again"
    columns = [f"split_{split}" for split in splits]
    kinds = dict.fromkeys(COLUMNS, "i") | {"onset_s": "f"} | dict.fromkeys(columns, "O")
    trials = read_table(path, kinds, "a table of trials (Parquet)", remedy)
    for name, least in COLUMNS.items():
        wrong = ~(trials[name] >= least) | np.isinf(trials[name])
        if wrong.any():
            raise UserError(
                f"{path}: expected {name} from {least}, found {trials[name][wrong].iloc[0]}; "
                f"{remedy}"
            )
    for column in columns:
        if unknown := set(trials[column]) - {"train", "test", "excluded"}:
            raise UserError(
                f"{path}: expected train, test or excluded in {column}, found {unknown}; {remedy}"
            )
    return trials


def write_trials(trials: pd.DataFrame, path: Path) -> None:
    """Write a trial table, with checksums of its pages."""
    with atomic(path) as part:
        trials.to_parquet(part, index=False, write_page_checksum=True)
