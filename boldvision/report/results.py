"""The results that a table or figure is made of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from boldvision.decoders.record import ADAPTED
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.parquet import read_table

SUMMARY_KEYS = ("protocol", "direction", "generator_label", "metrics", "windows")
IMAGE_COLUMNS = {"test_window": "O", "trial": "i", "image_id": "i", "metric": "O", "value": "f"}
AGAIN = "evaluate this model again"

SPLITS = {
    "standard": "",
    "time_resolved": "time-resolved split as published",
    "time_resolved_leakage_free": "leakage-free time-resolved split",
    "time_resolved_size_matched": "time-resolved split of as few trials as leakage-free",
}
"""Split of the configuration: what a figure says of it, if not its name."""


class Score(NamedTuple):
    """A pooled metric: fractions, with the 95 % interval over images.

    ``chance`` is what a reconstruction unrelated to its stimulus scores.
    """

    value: float
    low: float
    high: float
    n: int
    chance: float


@dataclass(frozen=True)
class Metric:
    """What a metric means, as the evaluation recorded it."""

    better: str
    network: str
    weights: str
    label: str
    genuine: bool


@dataclass(frozen=True)
class Result:
    """One model, tested on one subject in one or several windows.

    Attributes
    ----------
    row : str
        Name of the row of the table, or of the curve.
    run : str
        Run of the configuration.
    subjects : str
        Training subjects.
    subject : str
        Test subject.
    window : str
        Training window.
    tr_s : float or None
        Sampling period of the series, s; None of betas.
    parquet : Path
        Per-image values.
    protocol, direction, generator_label : str
        As recorded by the evaluation.
    metrics : dict of Metric
    scores : dict
        ``scores[test_window][metric]`` is a `Score`.
    """

    row: str
    run: str
    subjects: str
    subject: str
    window: str
    tr_s: float | None
    parquet: Path
    protocol: str
    direction: str
    generator_label: str
    metrics: dict[str, Metric]
    scores: dict[str, dict[str, Score]] = field(repr=False)

    def score(self, metric: str, test_window: str | None = None) -> Score:
        """Pooled metric in a test window, by default the training window.

        Raises
        ------
        UserError
            The metric was not evaluated in that window.
        """
        test_window = self.window if test_window is None else test_window
        try:
            return self.scores[test_window][metric]
        except KeyError:
            raise UserError(
                f"{self.parquet}: no {metric} in window {test_window}; found windows "
                f"{', '.join(self.scores)} and metrics {', '.join(self.metrics)}. "
                "Add it to the metric set of this row in the runs table."
            ) from None

    def images(self, metric: str, test_window: str | None = None) -> pd.DataFrame:
        """Per-image rows of a metric, by default in the training window.

        Columns are those of `IMAGE_COLUMNS`; ``value`` is a fraction.

        Raises
        ------
        UserError
            The file is missing or damaged, or lacks a column, or the metric in that window.
        """
        test_window = self.window if test_window is None else test_window
        images = read_table(self.parquet, IMAGE_COLUMNS, "scores of single images", AGAIN)
        chosen = images[(images["test_window"] == test_window) & (images["metric"] == metric)]
        if chosen.empty:
            raise UserError(
                f"{self.parquet}: expected values of {metric} in window {test_window}, found "
                "none. Evaluate this model again."
            )
        return chosen


def read(rows: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Read the evaluations that a rule lists.

    Parameters
    ----------
    rows : iterable of mapping
        Each with ``row``, ``run``, ``subjects``, ``subject``, ``window``, ``tr_s``, ``parquet``
        and ``summary`` (the ``.json`` beside the ``.parquet``).

    Raises
    ------
    UserError
        A summary is not one, a model occurs twice, or two were scored in different ways.
    """
    evaluations = [_read_one(row) for row in rows]
    if not evaluations:
        raise UserError("no evaluation is listed: expected at least one row in the runs table")
    _same_scoring(evaluations)
    seen: set[tuple[str, ...]] = set()
    for e in evaluations:
        key = (e.row, e.run, e.subjects, e.subject, e.window)
        if key in seen:
            raise UserError(f"{e.parquet}: {' / '.join(key)} is listed twice in the runs table")
        seen.add(key)
    return evaluations


def _read_one(row: Mapping[str, Any]) -> Result:
    path = Path(row["summary"])
    with reading(path, "the summary of an evaluation", AGAIN):
        summary = json.loads(path.read_text())
        if missing := [key for key in SUMMARY_KEYS if key not in summary]:
            raise ValueError(f"no {', '.join(missing)}")
        return Result(
            **{key: row[key] for key in ("row", "run", "subjects", "subject", "window", "tr_s")},
            parquet=Path(row["parquet"]),
            protocol=summary["protocol"],
            direction=summary["direction"],
            generator_label=summary["generator_label"] or "",
            metrics={
                name: Metric(**{key: info[key] for key in Metric.__dataclass_fields__})
                for name, info in summary["metrics"].items()
            },
            scores={
                window: {
                    name: _score(**{key: score[key] for key in Score._fields})
                    for name, score in scores.items()
                }
                for window, scores in summary["windows"].items()
            },
        )


def _score(**fields: float) -> Score:
    if not all(math.isfinite(value) for value in fields.values()):
        raise ValueError(f"a score that is not finite, {fields}")
    return Score(**fields)  # type: ignore[arg-type]


def _same_scoring(evaluations: list[Result]) -> None:
    first = evaluations[0]
    for other in evaluations[1:]:
        same = (first.protocol, first.direction) == (other.protocol, other.direction) and all(
            first.metrics[name] == metric
            for name, metric in other.metrics.items()
            if name in first.metrics
        )
        if not same:
            raise UserError(
                f"{other.parquet}: scored in another way than {first.parquet} (protocol, "
                "direction or networks differ). Evaluate both with the same configuration."
            )


def metrics_of(evaluations: list[Result]) -> dict[str, Metric]:
    """The metrics that every evaluation has, in the order of the first."""
    return {
        name: metric
        for name, metric in evaluations[0].metrics.items()
        if all(name in other.metrics for other in evaluations)
    }


def one_subject(evaluations: list[Result]) -> str:
    """The test subject that all evaluations share.

    Raises
    ------
    UserError
        There are several.
    """
    subjects = sorted({e.subject for e in evaluations})
    if len(subjects) > 1:
        raise UserError(
            f"this figure shows one subject, the runs table gives {', '.join(subjects)}: "
            "set the column `subjects` of its rows to `first`"
        )
    return subjects[0]


def note(evaluations: list[Result], dataset: str, simulated: bool, split: str = "standard") -> str:
    """Subject, split, dataset and generator, as shown above a figure of one subject.

    The time-resolved splits are told in a line of their own.

    Parameters
    ----------
    evaluations : list of Result
    dataset : str
        Name of the dataset.
    simulated : bool
        Whether the dataset is the miniature.
    split : str
        Of the runs.

    Raises
    ------
    UserError
        The evaluations are of several subjects.
    """
    about = data_note(evaluations, dataset, simulated)
    said = SPLITS.get(split, f"split {split}")
    first = f"; {said}\n" if said else "; "
    return f"{one_subject(evaluations)}{first}{about}"


def data_note(evaluations: list[Result], dataset: str, simulated: bool) -> str:
    """Dataset and generator, as shown above a figure of several subjects."""
    kind = f"simulated dataset {dataset}" if simulated else f"dataset {dataset}"
    labels = labels_of((e.row, e.generator_label) for e in evaluations)
    warning = "not comparable with the paper" if simulated else ""
    return "; ".join(filter(None, [kind, *labels, warning]))


def labels_of(rows: Iterable[tuple[str, str]]) -> list[str]:
    """What the weights of rows are, from each row and its label: by row, unless all say the same.

    Rows whose weights are as published, without a label, say nothing.
    """
    by_label: dict[str, dict[str, None]] = {}
    for row, label in rows:
        if label:
            by_label.setdefault(label, {})[row] = None
    if len(by_label) == 1 and not next(iter(by_label)).startswith(ADAPTED):
        return list(by_label)
    return [f"{', '.join(named)} ({label})" for label, named in by_label.items()]
