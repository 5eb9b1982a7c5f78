"""Which checks a scope can make: those whose items it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boldvision.datasets.miniature.known_answer.decoding import (
    check_averaging,
    check_decoding,
    check_leakage,
    check_sessions,
)
from boldvision.datasets.miniature.known_answer.finding import Finding
from boldvision.datasets.miniature.known_answer.identification import check_identification
from boldvision.datasets.miniature.known_answer.over_time import check_peak, check_silence
from boldvision.errors import UserError
from boldvision.report import results
from boldvision.report.leakage import by_split
from boldvision.report.results import Result


def findings(
    items: Mapping[str, list[Mapping[str, Any]]],
    windows: Mapping[str, Mapping[str, Any]],
    truth: Mapping[str, Mapping[str, float]],
    seed: int,
) -> list[Finding]:
    """Make every check whose items are there.

    Parameters
    ----------
    items : mapping
        Item: its evaluations as a rule lists them, with ``reconstructions`` and ``stimuli``, and
        ``identified``, what is known of the answer of each (`BaseRun.identified`).
    windows : mapping
        ``windows`` of the configuration.
    truth : mapping
        Subject: ``peak_s`` of the simulated response, s after onset.
    seed : int
        Of the bootstrap.
    """
    scored = {item: results.read(rows) for item, rows in items.items()}
    checks: dict[tuple[str, ...], Callable[[], list[Finding]]] = {
        ("table_1",): lambda: check_identification(_pictures(scored["table_1"], items["table_1"])),
        ("figure_5",): lambda: [
            finding
            for curves in _by(_known(scored["figure_5"], items["figure_5"]), "run")
            for finding in _over_time(curves, windows, truth)
        ],
        ("table_4",): lambda: check_decoding(scored["table_4"], "Dynadiff", "betas decode"),
        ("table_5",): lambda: check_decoding(
            scored["table_5"], "Dynadiff w/ fMRIprep", "fsaverage5 decodes"
        ),
        ("table_7", "table_1"): lambda: [
            finding
            for averaged in _by(_known(scored["table_7"], items["table_7"]), "row")
            for finding in check_averaging(averaged, scored["table_1"], averaged[0].row, seed)
        ],
        ("table_8",): lambda: check_decoding(
            scored["table_8"], "Dynadiff multi-subject", "joint model decodes"
        ),
        ("figure_9",): lambda: check_sessions(scored["figure_9"], seed),
        ("leakage",): lambda: check_leakage(by_split(scored["leakage"], items["leakage"]), seed),
    }
    possible = [check for needed, check in checks.items() if set(needed) <= set(scored)]
    return [finding for check in possible for finding in check()]


def _known(evaluations: list[Result], rows: list[Mapping[str, Any]]) -> list[Result]:
    """Evaluations of decoders whose answer is known.

    Raises
    ------
    UserError
        There are none.
    """
    known = [
        evaluation
        for evaluation, row in zip(evaluations, rows, strict=True)
        if row["identified"] is not None
    ]
    if not known:
        found = ", ".join(sorted({e.row for e in evaluations}))
        raise UserError(
            "known answer: expected a row of a decoder whose answer is known (`identified` of its "
            f"runs), found {found}; add one to the runs table"
        )
    return known


def _by(evaluations: list[Result], key: str) -> list[list[Result]]:
    """Evaluations of each run, or of each row."""
    names = dict.fromkeys(getattr(e, key) for e in evaluations)
    return [[e for e in evaluations if getattr(e, key) == name] for name in names]


def _pictures(
    evaluations: list[Result], rows: list[Mapping[str, Any]]
) -> list[tuple[Result, Path, Path, float]]:
    """Trained models with their reconstructions, their stimuli, and what is expected of them."""
    known = _known(evaluations, rows)
    return [
        (
            e,
            Path(row["reconstructions"]) / f"{e.window}.h5",
            Path(row["stimuli"]),
            row["identified"],
        )
        for e, row in zip(evaluations, rows, strict=True)
        if e in known
    ]


def _over_time(
    curves: list[Result],
    windows: Mapping[str, Mapping[str, Any]],
    truth: Mapping[str, Mapping[str, float]],
) -> list[Finding]:
    """The rows of one run."""
    peak_s = truth[results.one_subject(curves)]["peak_s"]
    return [*check_silence(curves, windows), *check_peak(curves, windows, peak_s)]
