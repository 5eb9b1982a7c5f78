"""The check of the default run: the miniature's known answer comes out at the other end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from boldvision.config import TR_S
from boldvision.errors import UserError
from boldvision.metrics.identification import two_way_identification
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report.curves import curves
from boldvision.report.log import announce
from boldvision.report.results import Evaluation, one_subject
from boldvision.report.times import times
from boldvision.seeds import numpy_generator

IDENTIFICATION = 0.80
"""Least two-way identification of held-out images at the training window."""

SILENT_S = 0.0
"""s after onset: a window whose last sample is no later cannot hold the image's response."""

SILENT_LEVEL = 0.99
"""Coverage of the interval that must contain chance: one correct run in a hundred misses it."""

SILENCE_METRIC = "alexnet_2"
"""Two-way identification, at chance in windows without a response."""

PEAK_METRIC = "pixcorr"
"""The finest score of the curve: identification saturates around the best window."""


@dataclass(frozen=True)
class Finding:
    """One thing checked: what was found, what was expected, whether they agree."""

    check: str
    where: str
    found: str
    expected: str
    passed: bool


def pixel_identification(reconstructions: Path, stimuli: Path) -> float:
    """Two-way identification of reconstructions with raw pixels as features.

    Parameters
    ----------
    reconstructions : Path
        ``images`` uint8 [N, H, W, 3] and ``image_id`` [N].
    stimuli : Path
        ``images`` uint8 [M, px, px, 3] and ``image_id`` [M]; resized to H x W (bicubic).

    Returns
    -------
    float
        Fraction of comparisons won; chance is 0.5.
    """
    with h5py.File(reconstructions) as file:
        made, image_ids = file["images"][:], file["image_id"][:]
    unique, pairs = np.unique(image_ids, return_inverse=True)
    with h5py.File(stimuli) as file:
        place = {int(image_id): i for i, image_id in enumerate(file["image_id"][:])}
        if missing := set(unique.tolist()) - set(place):
            raise UserError(
                f"{stimuli}: expected the images of {reconstructions}, {len(missing)} are missing; "
                "make the file again"
            )
        seen = [Image.fromarray(file["images"][place[image_id]]) for image_id in unique.tolist()]
    size = made.shape[2], made.shape[1]
    resized = np.stack([np.asarray(image.resize(size)) for image in seen])
    won = two_way_identification(
        stimuli=resized.reshape(len(resized), -1).astype(np.float64),
        predictions=made.reshape(len(made), -1).astype(np.float64),
        direction="prediction",
        pairs=pairs,
    )
    return float(won.mean())


def check_identification(models: list[tuple[Evaluation, Path, Path]]) -> list[Finding]:
    """Held-out images are identified at the training window, by pixels and by AlexNet(2).

    Parameters
    ----------
    models : list of (evaluation, reconstructions, stimuli)
        Every trained subject.
    """
    findings = []
    for evaluation, reconstructions, stimuli in models:
        scores = {
            "pixels": pixel_identification(reconstructions, stimuli),
            "AlexNet(2)": float(evaluation.images("alexnet_2")["value"].mean()),
        }
        findings += [
            Finding(
                f"identification by {features}",
                f"{evaluation.subject}, {evaluation.window}",
                f"{score:.3f}",
                f">= {IDENTIFICATION:.2f}",
                score >= IDENTIFICATION,
            )
            for features, score in scores.items()
        ]
    return findings


def check_silence(
    evaluations: list[Evaluation], windows: Mapping[str, Mapping[str, Any]]
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
        silent = [w for w in points if times(w, windows).last_sample_s <= SILENT_S]
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
    evaluations: list[Evaluation], windows: Mapping[str, Mapping[str, Any]], peak_s: float
) -> list[Finding]:
    """The best window of every curve is centred on the peak of the response, within one TR.

    Neighbouring windows score alike, so the centre of the best one has a bootstrap 95 % interval;
    it must come within one TR of the peak.

    Parameters
    ----------
    evaluations : list of Evaluation
        Rows ``General`` and ``Specialized`` of one subject.
    windows : mapping
        ``windows`` of the configuration.
    peak_s : float
        Peak of the simulated response to a 3-s image, s after onset.
    """
    subject = one_subject(evaluations)
    findings = []
    for name, points in curves(evaluations).items():
        scores = {
            times(window, windows).centre_s: model.images(PEAK_METRIC, window)
            for window, model in points.items()
        }
        low, high = best_centre(scores)
        findings.append(
            Finding(
                f"best window, {name}",
                subject,
                f"centre {low:.2f} to {high:.2f} s",
                f"{peak_s:.2f} ± {TR_S:.2f} s",
                low - TR_S <= peak_s <= high + TR_S,
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


def report(findings: list[Finding]) -> str:
    """The findings as a table of plain text."""
    lines = [("", "check", "where", "found", "expected")]
    lines += [
        ("ok" if f.passed else "FAILED", f.check, f.where, f.found, f.expected) for f in findings
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def check(findings: list[Finding]) -> dict[str, Any]:
    """Print the findings; give them as a record if all passed.

    Raises
    ------
    UserError
        One did not pass.
    """
    announce(report(findings))
    failed = [f for f in findings if not f.passed]
    if failed:
        raise UserError(
            f"known answer: {len(failed)} of {len(findings)} checks failed:\n{report(failed)}"
        )
    return {"passed": True, "findings": [asdict(f) for f in findings]}
