"""The runs table: which models, test sets and metrics each table and figure is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError

from boldvision import plugins
from boldvision.config import Betas, Config
from boldvision.config.messages import messages
from boldvision.config.section import Name, Section, Text
from boldvision.datasets.choose import dataset_of
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.shipped import shipped

ITEMS = (
    *(f"table_{number}" for number in range(1, 9)),
    "figure_3",
    "figure_4",
    "figure_4_leakage_free",
    "figure_5",
    "figure_5_leakage_free",
    "figure_6",
    "figure_7",
    "figure_8",
    "figure_9",
    "leakage",
    "temporal_generalization",
    "temporal_generalization_leakage_free",
    "gallery",
)
"""What a rule makes of rows of the runs table, in the order in which costs are counted."""

COLUMNS = ["item", "row", "run", "sessions", "subjects", "window", "test_set", "metrics"]


@dataclass(frozen=True)
class Evaluation:
    """One line of the runs table for one subject: a model, a test set and its metrics."""

    row: str
    run: str
    subjects: str
    subject: str
    window: str
    seed: int
    test_set: str
    metrics: str


def read_runs(path: str | Path) -> pd.DataFrame:
    """Read the runs table: the paper as data.

    Raises
    ------
    UserError
        The file is missing or has other columns.
    """
    path = shipped(str(path))
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; `runs_table` names the table of runs")
    with reading(path, f"a table of columns {', '.join(COLUMNS)}", "correct it"):
        table = pd.read_csv(path, sep="\t", dtype=str, comment="#", keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path}: expected columns {COLUMNS}, found {list(table.columns)}")
    for number, line in enumerate(table.itertuples(index=False), start=1):
        _check_free(f"{path}: line {number} below the header", line)
    return table


def runs_of(config: Config) -> pd.DataFrame:
    """The runs table of a configuration: its own, or the rows that every decoder brings.

    Rows of a run that lacks something (`BaseRun.lacks`) are left out.

    Raises
    ------
    UserError
        A file is missing or wrong, or has a line of an item that no rule makes.
    """
    files = [folder / "runs.tsv" for folder in plugins.found("decoders").values()]
    if config.runs_table is not None:
        files = [Path(config.runs_table)]
    tables = {file: read_runs(file) for file in files if file.exists() or config.runs_table}
    for file, table in tables.items():
        if unknown := set(table["item"]) - set(ITEMS):
            raise UserError(
                f"{file}: no rule makes {min(unknown)}; expected one of {', '.join(ITEMS)}"
            )
    runs = pd.concat(tables.values(), ignore_index=True)
    known = set(runs["run"]) & set(config.run_names)
    return runs[~runs["run"].isin({name for name in known if config.run(name).lacks()})]


class _Free(Section):
    """What a line names itself: a part of paths, and what is shown."""

    item: Name
    row: Text = Field(min_length=1)


def _check_free(where: str, line: Any) -> None:
    try:
        _Free(item=line.item, row=line.row)
    except ValidationError as error:
        raise UserError(f"{where}: {messages(error)[0]}") from None


def evaluations(config: Config, runs: pd.DataFrame, scope: str, item: str) -> list[Evaluation]:
    """Evaluations of a table or figure in a scope, in the order of the runs table.

    `sessions` is ``all`` or ``few``: one model for each of the scope's numbers of sessions.
    `subjects` is ``each`` (one model per subject), ``first`` or ``first_two`` (of the scope) or
    ``joint`` (one model of all). `window` is a window's name or ``specialized``: one model for each
    of the scope's shifts of ``main``.

    Raises
    ------
    UserError
        A name of the runs table is not in the configuration.
    """
    found = []
    for line in runs[runs["item"] == item].itertuples(index=False):
        _check(config, scope, line)
        rest = {"seed": config.seed, "test_set": line.test_set, "metrics": line.metrics}
        found += [
            Evaluation(line.row, run, subjects, subject, window, **rest)
            for subjects, subject in _subjects(config, scope, line.subjects)
            for run in _runs(config, scope, line, subject)
            for window in _windows(config, scope, line.window)
        ]
    return found


def _subjects(config: Config, scope: str, kind: str) -> list[tuple[str, str]]:
    names = config.scopes[scope].subjects
    pairs = {
        "each": [(name, name) for name in names],
        "first": [(names[0], names[0])],
        "first_two": [(name, name) for name in names[:2]],
        "joint": [("+".join(names), name) for name in names],
    }
    if kind not in pairs:
        raise UserError(f"{_named(config)}: subjects {kind!r} is none of {', '.join(pairs)}")
    return pairs[kind]


def _runs(config: Config, scope: str, line: Any, subject: str) -> list[str]:
    """The run, or its variants of few sessions; with all sessions it is the run itself."""
    if line.sessions == "all":
        return [line.run]
    if line.sessions != "few":
        raise UserError(f"{_named(config)}: sessions {line.sessions!r} is neither all nor few")
    total = config.subjects[subject].sessions
    return [
        line.run if sessions == total else f"{line.run}-{sessions}sessions"
        for sessions in config.scopes[scope].few_sessions
    ]


def _windows(config: Config, scope: str, window: str) -> list[str]:
    if window != "specialized":
        return [window]
    return [f"main{shift:+d}" for shift in sorted(config.scopes[scope].specialized_shifts)]


def _check(config: Config, scope: str, line: Any) -> None:
    for column, known in (
        ("run", config.run_names),
        ("test_set", config.test_sets),
        ("metrics", config.metrics.sets),
    ):
        name = getattr(line, column)
        if name not in known:
            raise UserError(
                f"{_named(config)}: {line.item}: {column} {name!r} is not in the "
                f"configuration, which has {', '.join(sorted(known))}"
            )
    try:
        for window in _windows(config, scope, line.window):
            dataset_of(config).check_window(config, window)
        _check_sessions(config, scope, line)
    except ValueError as error:
        raise UserError(f"{_named(config)}: {line.item}: {error}") from None
    _check_betas(config, scope, line)


def _check_sessions(config: Config, scope: str, line: Any) -> None:
    few = line.sessions == "few"
    where = f"scopes.{scope}.few_sessions" if few else f"runs.{line.run}.sessions"
    for _, subject in _subjects(config, scope, line.subjects):
        for run in _runs(config, scope, line, subject):
            if sessions := config.run(run).sessions:
                config.require_sessions(sessions, subject, where)


def _check_betas(config: Config, scope: str, line: Any) -> None:
    """Betas have one window, so nothing can be shown of them over time."""
    preprocessing = config.preprocessing[config.run(line.run).preprocessing]
    if not isinstance(preprocessing, Betas):
        return
    where = f"{_named(config)}: {line.item}: run {line.run}"
    tested = config.test_sets[line.test_set].windows
    others = [window for window in tested if window != "own"]
    for window in [*_windows(config, scope, line.window), *others]:
        preprocessing.require(config.window(window), f"{where}: window {window}")
    if len(tested) > 1:
        raise UserError(
            f"{where}: betas have one window: expected one in test_sets.{line.test_set}, found "
            f"{', '.join(tested)}; choose another test set"
        )


def _named(config: Config) -> str:
    """What a message calls the runs table."""
    return config.runs_table or "runs.tsv of a decoder"
