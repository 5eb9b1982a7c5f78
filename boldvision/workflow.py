"""What the rules need of configuration and runs table: which files an item is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from boldvision.config import Config
from boldvision.errors import UserError

COLUMNS = ["item", "row", "run", "subjects", "window", "test_set", "metrics"]


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

    @property
    def model(self) -> str:
        """Path of the model below ``models/``."""
        return f"{self.run}/{self.subjects}/{self.window}/seed-{self.seed}"

    @property
    def reconstruction(self) -> str:
        """Path of the folder of pictures below ``reconstructions/``."""
        return f"{self.model}/{self.subject}/{self.test_set}"

    @property
    def scores(self) -> str:
        """Path of the scores below ``metrics/``, without suffix."""
        return f"{self.reconstruction}.{self.metrics}"


def load_config(values: Mapping[str, Any]) -> Config:
    """Validate Snakemake's `config`.

    Raises
    ------
    UserError
        A key is unknown, missing or wrong; every one is named.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        wrong = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise UserError("\n".join(["the configuration is wrong:", *wrong])) from None


def read_runs(path: str | Path) -> pd.DataFrame:
    """Read the runs table: the paper as data.

    Raises
    ------
    UserError
        The file is missing or has other columns.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; `runs_table` names the table of runs")
    table = pd.read_csv(path, sep="\t", dtype=str, comment="#")
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path}: expected columns {COLUMNS}, found {list(table.columns)}")
    return table


def evaluations(config: Config, runs: pd.DataFrame, scope: str, item: str) -> list[Evaluation]:
    """Evaluations of a table or figure in a scope, in the order of the runs table.

    `subjects` is ``each`` (one model per subject), ``first`` (of the scope) or ``joint`` (one model
    of all); `window` is a window's name or ``specialized``: one model for each of the scope's shifts
    of ``main``.

    Raises
    ------
    UserError
        The item is not in the runs table, or a name of it is not in the configuration.
    """
    lines = runs[runs["item"] == item]
    if lines.empty:
        raise UserError(f"{config.runs_table}: no line for {item!r}")
    found = []
    for line in lines.itertuples(index=False):
        _check(config, line)
        for subjects, subject in _subjects(config, scope, line.subjects):
            for window in _windows(config, scope, line.window):
                found.append(
                    Evaluation(
                        line.row, line.run, subjects, subject, window, config.seed,
                        line.test_set, line.metrics,
                    )  # fmt: skip
                )
    return found


def rows_for_script(config: Config, found: list[Evaluation]) -> list[dict[str, Any]]:
    """The evaluations as `params.rows` of a table's or figure's script."""
    root = f"results/{config.dataset}"
    return [
        {
            **asdict(e),
            "parquet": f"{root}/metrics/{e.scores}.parquet",
            "summary": f"{root}/metrics/{e.scores}.json",
            "reconstructions": f"{root}/reconstructions/{e.reconstruction}",
            "stimuli": f"resources/{config.dataset}/images/{e.subject}.h5",
        }
        for e in found
    ]


def as_json(**settings: Any) -> str:
    """Settings of a stage as JSON: the same text for the same values."""
    return json.dumps(settings, default=_plain, sort_keys=True)


def test_windows(config: Config, test_set: str, own: str) -> list[str]:
    """Window names of a test set, `own` replaced by the model's training window."""
    return [own if name == "own" else name for name in config.test_sets[test_set].windows]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value)} is not a setting")


def _subjects(config: Config, scope: str, kind: str) -> list[tuple[str, str]]:
    names = config.scopes[scope].subjects
    pairs = {
        "each": [(name, name) for name in names],
        "first": [(names[0], names[0])],
        "joint": [("+".join(names), name) for name in names],
    }
    if kind not in pairs:
        raise UserError(f"{config.runs_table}: subjects {kind!r} is none of {', '.join(pairs)}")
    return pairs[kind]


def _windows(config: Config, scope: str, window: str) -> list[str]:
    if window != "specialized":
        return [window]
    return [f"main{shift:+d}" for shift in sorted(config.scopes[scope].specialized_shifts)]


def _check(config: Config, line: Any) -> None:
    for column, known in (
        ("run", config.runs),
        ("test_set", config.test_sets),
        ("metrics", config.metrics.sets),
    ):
        name = getattr(line, column)
        if name not in known:
            raise UserError(
                f"{config.runs_table}: {line.item}: {column} {name!r} is not in the "
                f"configuration, which has {', '.join(sorted(known))}"
            )
