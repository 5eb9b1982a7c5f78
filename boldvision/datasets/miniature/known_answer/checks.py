"""Which checks a scope can make: those whose items it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boldvision.datasets.miniature.known_answer.decoding import (
    GENERAL,
    check_averaging,
    check_decoding,
    check_leakage,
    check_sessions,
    of_row,
)
from boldvision.datasets.miniature.known_answer.finding import Finding
from boldvision.datasets.miniature.known_answer.identification import check_identification
from boldvision.datasets.miniature.known_answer.over_time import check_peak, check_silence
from boldvision.report import results
from boldvision.report.leakage import by_split
from boldvision.report.results import Result

DYNADIFF = "Dynadiff"


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
        Item: its evaluations as a rule lists them, with ``reconstructions`` and ``stimuli``.
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
        ("figure_5",): lambda: _over_time(scored["figure_5"], windows, truth),
        ("table_4",): lambda: check_decoding(scored["table_4"], DYNADIFF, "betas decode"),
        ("table_5",): lambda: check_decoding(
            scored["table_5"], "Dynadiff w/ fMRIprep", "fsaverage5 decodes"
        ),
        ("table_7", "table_1"): lambda: check_averaging(
            scored["table_7"], scored["table_1"], DYNADIFF, seed
        ),
        ("table_8",): lambda: check_decoding(
            scored["table_8"], "Dynadiff multi-subject", "joint model decodes"
        ),
        ("figure_9",): lambda: check_sessions(scored["figure_9"], seed),
        ("leakage",): lambda: check_leakage(by_split(scored["leakage"], items["leakage"]), seed),
    }
    possible = [check for needed, check in checks.items() if set(needed) <= set(scored)]
    return [finding for check in possible for finding in check()]


def _pictures(
    evaluations: list[Result], rows: list[Mapping[str, Any]]
) -> list[tuple[Result, Path, Path]]:
    """Trained models with their reconstructions and stimuli."""
    trained = of_row(evaluations, DYNADIFF)
    return [
        (e, Path(row["reconstructions"]) / f"{e.window}.h5", Path(row["stimuli"]))
        for e, row in zip(evaluations, rows, strict=True)
        if e in trained
    ]


def _over_time(
    evaluations: list[Result],
    windows: Mapping[str, Mapping[str, Any]],
    truth: Mapping[str, Mapping[str, float]],
) -> list[Finding]:
    """The rows of the General model's run: of other decoders no answer is known."""
    [run] = {e.run for e in of_row(evaluations, GENERAL)}
    known = [e for e in evaluations if e.run == run]
    peak_s = truth[results.one_subject(known)]["peak_s"]
    return [*check_silence(known, windows), *check_peak(known, windows, peak_s)]
