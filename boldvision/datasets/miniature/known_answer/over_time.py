"""Windows over time: chance before the response, the best window at its peak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from boldvision.datasets.miniature.known_answer.finding import Finding
from boldvision.errors import UserError
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report.curves import curves
from boldvision.report.results import Result, one_subject
from boldvision.report.times import one_period, times
from boldvision.seeds import numpy_generator

SILENT_S = 0.0
"""s after onset: a window whose last sample is no later cannot hold the image's response."""

SILENT_LEVEL = 0.99
"""Coverage of the interval that must contain chance: one correct run in a hundred misses it."""

SILENCE_METRIC = "alexnet_2"
"""Two-way identification, at chance in windows without a response."""

PEAK_METRIC = "pixcorr"
"""The finest score of the curve: identification saturates around the best window."""


def check_silence(
    evaluations: list[Result], windows: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    """Windows that end before the response begins identify at chance.

    The windows of a curve are pooled: one interval of the mean over all of them.

    Raises
    ------
    UserError
        No test window ends that early.
    """
    subject = one_subject(evaluations)
    findings = []
    for name, points in curves(evaluations).items():
        silent = [
            window
            for window, model in points.items()
            if times(window, windows, model.tr_s).last_sample_s <= SILENT_S
        ]
        if not silent:
            continue
        scores = pd.concat([points[w].images(SILENCE_METRIC, w) for w in silent])
        low, high = bootstrap_interval(
            scores["value"].to_numpy(),
            scores["image_id"].to_numpy(),
            samples=10_000,
            seed=0,
            level=SILENT_LEVEL,
        )
        findings.append(
            Finding(
                f"chance before the response, {name}",
                f"{subject}, {', '.join(silent)}",
                f"{low:.3f} to {high:.3f}",
                "contains 0.5",
                low <= 0.5 <= high,
            )
        )
    if not findings:
        raise UserError(
            f"known answer: expected a test window that ends by {SILENT_S} s after onset, found "
            "none; add earlier windows to the test set `shifts`"
        )
    return findings


def check_peak(
    evaluations: list[Result], windows: Mapping[str, Mapping[str, Any]], peak_s: float
) -> list[Finding]:
    """The best window of every curve is centred on the peak of the response, within one TR.

    Neighbouring windows score alike, so the centre of the best one has a bootstrap 95 % interval;
    it must come within one TR of the peak.

    Parameters
    ----------
    evaluations : list of Result
        Of one run and subject; a row is a curve.
    windows : mapping
        ``windows`` of the configuration.
    peak_s : float
        Peak of the simulated response to a 3-s image, s after onset.
    """
    subject = one_subject(evaluations)
    findings = []
    for name, points in curves(evaluations).items():
        scores = {
            times(window, windows, model.tr_s).centre_s: model.images(PEAK_METRIC, window)
            for window, model in points.items()
        }
        low, high = best_centre(scores)
        tr_s = one_period(points.values())
        findings.append(
            Finding(
                f"best window, {name}",
                subject,
                f"centre {low:.2f} to {high:.2f} s",
                f"{peak_s:.2f} ± {tr_s:.2f} s",
                low - tr_s <= peak_s <= high + tr_s,
            )
        )
    return findings


def best_centre(scores: Mapping[float, pd.DataFrame], samples: int = 2000) -> tuple[float, float]:
    """Bootstrap 95 % interval of the centre of the best window, resampling trials.

    Parameters
    ----------
    scores : mapping of float to DataFrame
        Per-image rows of each window, by the window's centre (s); trials that one of them lacks
        are left out.
    """
    by_centre = {c: frame.set_index("trial")["value"] for c, frame in scores.items()}
    table = pd.DataFrame(by_centre).dropna()
    draws = numpy_generator(0, "best_centre").integers(len(table), size=(samples, len(table)))
    best = table.to_numpy()[draws].mean(axis=1).argmax(axis=1)
    low, high = np.quantile(table.columns.to_numpy()[best], [0.025, 0.975], method="nearest")
    return float(low), float(high)
