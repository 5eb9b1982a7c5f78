"""The `split` stage: which trials of a subject train a decoder and which test it."""

from __future__ import annotations

import argparse
from pathlib import Path

from boldvision.cli import settings_from
from boldvision.errors import UserError
from boldvision.trials import splits
from boldvision.trials.table import read_trials, write_split


def main(argv: list[str]) -> None:
    """Split the trials of one subject."""
    parser = argparse.ArgumentParser(prog="boldvision split", description=__doc__)
    parser.add_argument("--trials", type=Path, required=True, help="trial table, .parquet")
    parser.add_argument("--split", required=True, help="a module of boldvision.trials.splits")
    parser.add_argument("--subject", required=True, help="name, as in subj01")
    parser.add_argument("--settings", required=True, help="JSON: `test_runs` and `seed` if drawn")
    parser.add_argument("--out", type=Path, required=True, help=".parquet")
    arguments = parser.parse_args(argv)

    asked = splits.keywords(arguments.split)
    told = {"subject": arguments.subject} | settings_from(arguments.settings)
    if missing := set(asked) - set(told):
        raise UserError(f"--settings: split {arguments.split} needs {min(missing)}, found none")
    trials = read_trials(arguments.trials)
    parts = splits.find(arguments.split)(trials, **{key: told[key] for key in asked})
    write_split(trials, parts, arguments.out)
