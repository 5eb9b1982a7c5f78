"""Every kind of model decodes, and what should help does."""

from __future__ import annotations

import math
from collections.abc import Mapping

from boldvision.config import split_run_name
from boldvision.datasets.miniature.known_answer.finding import Finding
from boldvision.errors import UserError
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report.differences import pairs
from boldvision.report.figure_9 import NOT_PRETRAINED, PRETRAINED
from boldvision.report.leakage import LEAKAGE_FREE, PUBLISHED
from boldvision.report.results import Result

GENERAL = "General"
"""Row of the model that is tested in every window."""

IDENTIFICATION_METRIC = "alexnet_2"
"""Two-way identification, by a network that the miniature has with its trained weights."""

COMPARED_METRIC = "pixcorr"
"""The finest score: identification saturates."""

LEVEL = 0.99
"""Coverage of the interval of a paired difference that must lie above 0, or not below it."""

SAMPLES = 10_000
"""Bootstrap samples behind such an interval."""


def check_decoding(evaluations: list[Result], row: str, what: str) -> list[Finding]:
    """The model identifies every subject's test images: the 95 % interval lies above chance.

    Parameters
    ----------
    evaluations : list of Result
    row : str
        Of the runs table, the one that is checked.
    what : str
        Name of the check.
    """
    scores = {e.subject: e.score(IDENTIFICATION_METRIC) for e in of_row(evaluations, row)}
    return [
        Finding(
            what,
            f"{subject}, AlexNet(2)",
            f"{score.low:.3f} to {score.high:.3f}",
            f"above chance, {score.chance:.3f}",
            score.low > score.chance,
        )
        for subject, score in scores.items()
    ]


def check_sessions(evaluations: list[Result], seed: int) -> list[Finding]:
    """More sessions help, and so does pretraining where sessions are fewest (paper, Figure 9).

    Parameters
    ----------
    evaluations : list of Result
        Rows ``Pretrained`` and ``Not pretrained`` of one subject.
    seed : int
        Of the bootstrap.
    """
    pretrained, not_pretrained = (
        sorted(of_row(evaluations, row), key=_sessions) for row in (PRETRAINED, NOT_PRETRAINED)
    )
    fewest, most = ([curve[end] for curve in (not_pretrained, pretrained)] for end in (0, -1))
    return [
        _better("most sessions against fewest, mean of both curves", most, fewest, seed),
        _not_worse("pretrained against not, fewest sessions", fewest[1:], fewest[:1], seed),
    ]


def check_averaging(
    averaged: list[Result], single: list[Result], row: str, seed: int
) -> list[Finding]:
    """The average of an image's repetitions scores higher than one of them (paper, Table 7).

    Parameters
    ----------
    averaged, single : list of Result
        Of the same models.
    row : str
        Of the runs table, the one that is checked.
    seed : int
        Of the bootstrap.
    """
    averaged, single = of_row(averaged, row), of_row(single, row)
    what = f"{row}: averaged repetitions against single trials"
    return [_better(what, averaged, single, seed)]


def check_leakage(splits: Mapping[str, list[Result]], seed: int) -> list[Finding]:
    """Seeing other repetitions of test images in training does no harm.

    Parameters
    ----------
    splits : mapping
        From `boldvision.report.leakage.by_split`.
    seed : int
        Of the bootstrap.
    """
    published, leakage_free = (of_row(splits[s], GENERAL) for s in (PUBLISHED, LEAKAGE_FREE))
    return [_not_worse("split as published against leakage-free", published, leakage_free, seed)]


def of_row(evaluations: list[Result], row: str) -> list[Result]:
    """Evaluations of the row that a check is of.

    Raises
    ------
    UserError
        There are none.
    """
    found = [e for e in evaluations if e.row == row]
    if not found:
        rows = ", ".join(sorted({e.row for e in evaluations}))
        raise UserError(
            f"known answer: expected a row {row!r} in the runs table, found {rows}; name it so"
        )
    return found


def _sessions(evaluation: Result) -> float:
    return split_run_name(evaluation.run)[1] or math.inf


def _better(what: str, row: list[Result], reference: list[Result], seed: int) -> Finding:
    low, high = paired_interval(row, reference, seed, LEVEL)
    return _finding(what, row, low, high, "above 0", low > 0)


def _not_worse(what: str, row: list[Result], reference: list[Result], seed: int) -> Finding:
    low, high = paired_interval(row, reference, seed, LEVEL)
    return _finding(what, row, low, high, "not below 0", high >= 0)


def _finding(
    what: str, row: list[Result], low: float, high: float, expected: str, passed: bool
) -> Finding:
    subjects = ", ".join(dict.fromkeys(e.subject for e in row))
    return Finding(what, f"{subjects}, PixCorr", f"{low:+.3f} to {high:+.3f}", expected, passed)


def paired_interval(
    row: list[Result], reference: list[Result], seed: int, level: float
) -> tuple[float, float]:
    """Bootstrap interval over images of the mean PixCorr of `row` minus that of `reference`."""
    paired = pairs(row, reference, COMPARED_METRIC)
    change = (paired["row"] - paired["reference"]).to_numpy()
    return bootstrap_interval(
        change, paired["image_id"].to_numpy(), samples=SAMPLES, seed=seed, level=level
    )
