"""The scorecard: every published number beside ours, and whether the two agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report import published
from boldvision.report.all_tables import AllTables
from boldvision.report.results import Result
from boldvision.report.tables import MEAN, OURS, PUBLISHED, TABLES, published_row, table

Z = 1.96
"""Half a 95 % interval, in standard errors."""

ROUNDING = 0.005
"""Half a unit of the last printed digit of a published number."""

AGREES, DISAGREES = "agrees", "disagrees"
NOT_COMPARABLE, NOT_HERE, NO_PLUGIN = "not comparable", "not in this scope", "no plug-in yet"
STATUSES = (AGREES, DISAGREES, NOT_COMPARABLE, NOT_HERE, NO_PLUGIN)

METHOD = (
    "Our interval: 95 % over test images, for two-way identification as tested and as competitors, "
    "otherwise a bootstrap. For a mean over subjects it is a bootstrap in which an image is drawn "
    "with its values in all subjects; subjects are not resampled and images compared with stay, so "
    "that near 100 % it is somewhat narrow. A mean over another number of subjects than the "
    "paper's is not compared. "
    "Published ±: standard error over subjects, where the paper gives one. Agrees: the two differ "
    "by at most 1.96 √(published standard error² + ours²) plus 0.005, half a unit of the last "
    "printed digit; our standard error is the interval's width / 3.92. A published number without "
    "± counts with its rounding alone, so that it disagrees too easily; the published ± is of four "
    "subjects, for whom 1.96 is too small, and subjects and images are the same as ours: read "
    "the verdict as a hint. The direction of two-way identification is the configuration's; the "
    "paper gives none."
)
"""How intervals and agreement are computed."""


def scorecard(tables: AllTables) -> pd.DataFrame:
    """Every published number of these tables, with ours where there is one.

    Returns
    -------
    DataFrame
        One row per published number: ``table``, ``row``, ``subject``, ``metric``, ``name``,
        ``published``, ``published_sem``, ``ours``, ``low``, ``high``, ``difference`` (ours minus
        published), ``status`` (one of `STATUSES`), ``reason`` (why not comparable), ``label`` (our
        network where it is another), ``generator``, ``dataset``, ``oddity``. Values are in the
        paper's units; those of ours are NaN where we have none.
    """
    records: list[dict[str, Any]] = []
    for number, evaluations in tables.evaluations.items():
        frame = table(number, evaluations, tables.dataset, tables.simulated)
        records += _cells(number, evaluations, frame, tables.seed)
    return pd.DataFrame(records).assign(dataset=tables.dataset)


def _cells(
    number: int, evaluations: list[Result], frame: pd.DataFrame, seed: int
) -> list[dict[str, Any]]:
    repeating: dict[str | None, list[Result]] = {}
    for e in evaluations:
        repeating.setdefault(published_row(number, e.row), []).append(e)
    ours = {
        (published_row(number, r.row), r.subject, r.metric): r
        for r in frame[frame["source"] == OURS].itertuples(index=False)
    }
    records = []
    for r in frame[frame["source"] == PUBLISHED].itertuples(index=False):
        record = {
            "table": number,
            **{key: getattr(r, key) for key in ("row", "subject", "metric", "name")},
            "published": r.value,
            "published_sem": r.sem,
            **dict.fromkeys(("ours", "low", "high", "difference"), np.nan),
            "status": NOT_HERE if r.row in repeating else NO_PLUGIN,
            **dict.fromkeys(("reason", "label", "generator"), ""),
            "oddity": "; ".join(published.flags(number, r.subject, r.row, r.metric)),
        }
        own = ours.get((r.row, r.subject, r.metric))
        if own is not None:
            interval = own.low, own.high
            if r.subject == MEAN:
                interval = mean_interval(repeating[r.row], r.metric, seed)
            record |= _our_part(r, own, *interval)
        records.append(record)
    return records


def _our_part(theirs: Any, own: Any, low: float, high: float) -> dict[str, Any]:
    averaged = TABLES[own.table].subjects if own.subject == MEAN else None
    reason = own.note.removeprefix("not comparable with the published rows: ")
    if not reason and averaged not in (None, own.subjects):
        reason = f"our mean is over {own.subjects} subjects, the published one over {averaged}"
    status = NOT_COMPARABLE
    if not reason:
        agree = agrees(own.value, (low, high), theirs.value, theirs.sem)
        status = AGREES if agree else DISAGREES
    return {
        "ours": own.value,
        "low": low,
        "high": high,
        "difference": own.value - theirs.value,
        "status": status,
        "reason": reason,
        "label": own.label,
        "generator": own.generator,
    }


def mean_interval(
    evaluations: list[Result], metric: str, seed: int, samples: int = 2000
) -> tuple[float, float]:
    """Bootstrap 95 % interval over the images of several subjects, in the paper's units.

    An image is drawn with its values in all subjects; subjects are not resampled.
    """
    pooled = pd.concat([e.images(metric) for e in evaluations])
    low, high = bootstrap_interval(
        pooled["value"].to_numpy(float), pooled["image_id"].to_numpy(), samples=samples, seed=seed
    )
    return published.scale(metric) * low, published.scale(metric) * high


def agrees(ours: float, interval: tuple[float, float], value: float, sem: float) -> bool:
    """Whether a number of ours agrees with the published one within both uncertainties: `METHOD`.

    Parameters
    ----------
    ours, value : float
        Our number and the published one.
    interval : (float, float)
        95 % interval of ours.
    sem : float
        Standard error of the published number; NaN where the paper gives none.
    """
    own = (interval[1] - interval[0]) / (2 * Z)
    theirs = 0.0 if np.isnan(sem) else sem
    return abs(ours - value) <= Z * float(np.hypot(own, theirs)) + ROUNDING


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """How many numbers of every table have which status: [tables, `STATUSES`]."""
    counts = pd.crosstab(frame["table"], frame["status"])
    return counts.reindex(columns=list(STATUSES), fill_value=0)
