"""Differences between our rows of a table, image by image: statistics that the paper lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report import published
from boldvision.report.all_tables import AllTables
from boldvision.report.formats import Cell, Header, Section, Sheet
from boldvision.report.results import Result, data_note, metrics_of
from boldvision.report.tables import TABLES, by_row
from boldvision.seeds import numpy_generator

FLIPS = 10_000
"""Random sign flips behind a p-value: the smallest is 1 / (FLIPS + 1)."""

SAMPLES = 2000
"""Bootstrap samples behind an interval."""

METHOD = (
    "A difference is row minus reference, in the units of the tables, over pairs of subject and "
    "test image that both have. An image is one unit, drawn or flipped with its values in all "
    "subjects; subjects are not resampled. The interval is a bootstrap 95 % interval over images, "
    f"for one metric at a time. p is two-sided, of {FLIPS:,} random sign flips; p (Holm) is "
    "corrected for the metrics of one comparison. For two-way identification the images compared "
    "with stay: near 100 %, where few images lose, its intervals are too narrow. Chance, of the "
    "row and of the reference, is what reconstructions score on stimuli of other images; for "
    "two-way identification that is 0.5 by symmetry. Every model was trained once: p speaks of "
    "other test images, not of another training."
)
"""How the numbers were computed."""

COLUMNS = (
    "tables",
    "row",
    "reference",
    "metric",
    "name",
    "better",
    "value",
    "reference_value",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "pairs",
    "images",
    "subjects",
    "chance",
    "reference_chance",
    "label",
    "data",
)


@dataclass(frozen=True)
class Comparison:
    """A row of ours and the reference of its table, on the same subjects.

    ``tables`` are the numbers of the tables that show both.
    """

    tables: tuple[int, ...]
    row: list[Result]
    reference: list[Result]


def comparisons(tables: Mapping[int, list[Result]]) -> list[Comparison]:
    """Every row of every table with the table's reference, each pair of models once.

    Parameters
    ----------
    tables : mapping
        Number of a table to its evaluations.
    """
    found: dict[tuple[Any, ...], Comparison] = {}
    for number, evaluations in tables.items():
        groups = by_row(evaluations)
        reference = groups.pop(TABLES[number].reference, [])
        for row in groups.values() if reference else ():
            key = tuple(e.parquet for e in [*row, *reference])
            known = found[key].tables if key in found else ()
            found[key] = Comparison((*known, number), row, reference)
    return list(found.values())


def differences(tables: AllTables) -> pd.DataFrame:
    """Mean difference of every comparison and metric, with interval and p-value.

    Returns
    -------
    DataFrame
        One row per comparison and metric, with `COLUMNS`, as `METHOD` says. Values are in the
        paper's units; ``pairs`` are of subject and image, ``label`` is our network where it is
        another than the paper's.
    """
    records: list[dict[str, Any]] = []
    for comparison in comparisons(tables.evaluations):
        data = data_note(comparison.row + comparison.reference, tables.dataset, tables.simulated)
        records += _compare(comparison, data, tables.seed)
    return pd.DataFrame(records, columns=list(COLUMNS))


def _compare(comparison: Comparison, data: str, seed: int) -> list[dict[str, Any]]:
    row, reference = comparison.row, comparison.reference
    shared = metrics_of([*row, *reference])
    paired = {m: pairs(row, reference, m) for m in published.METRICS if m in shared}
    paired = {metric: values for metric, values in paired.items() if len(values)}
    records = []
    for metric, values in paired.items():
        factor, info = published.scale(metric), shared[metric]
        images = values["image_id"].to_numpy()
        change = factor * (values["row"] - values["reference"]).to_numpy()
        low, high = bootstrap_interval(change, images, samples=SAMPLES, seed=seed)
        records.append(
            {
                "tables": ", ".join(map(str, comparison.tables)),
                "row": row[0].row,
                "reference": reference[0].row,
                "metric": metric,
                "name": published.METRICS[metric][0],
                "better": info.better,
                "value": factor * values["row"].mean(),
                "reference_value": factor * values["reference"].mean(),
                "difference": change.mean(),
                "low": low,
                "high": high,
                "p": sign_flip_p(change, images, seed),
                "pairs": len(values),
                "images": len(np.unique(images)),
                "subjects": values["subject"].nunique(),
                "chance": factor * _chance(row, metric),
                "reference_chance": factor * _chance(reference, metric),
                "label": "" if info.genuine else info.label,
                "data": data,
            }
        )
    for record, p in zip(records, holm([r["p"] for r in records]), strict=True):
        record["p_holm"] = p
    return records


def pairs(row: list[Result], reference: list[Result], metric: str) -> pd.DataFrame:
    """Values of a metric that both rows have.

    Returns
    -------
    DataFrame
        ``subject``, ``image_id``, ``row`` and ``reference`` (fractions); an image's trials are
        averaged. It may be empty.
    """
    both = [_by_image(row, metric), _by_image(reference, metric)]
    return pd.concat(both, axis=1, join="inner", keys=["row", "reference"]).reset_index()


def _by_image(evaluations: Iterable[Result], metric: str) -> pd.Series:
    values = pd.concat([e.images(metric).assign(subject=e.subject) for e in evaluations])
    return values.groupby(["subject", "image_id"])["value"].mean()


def _chance(evaluations: list[Result], metric: str) -> float:
    return float(np.mean([e.score(metric).chance for e in evaluations]))


def sign_flip_p(change: np.ndarray, images: np.ndarray, seed: int, flips: int = FLIPS) -> float:
    """Two-sided p-value of a mean difference, by flipping the sign of images at random.

    All differences of an image (its subjects) are flipped together.

    Parameters
    ----------
    change : array [n]
        Differences.
    images : array [n]
        The image of each.
    seed : int
    flips : int
        Random flips.
    """
    _, image = np.unique(images, return_inverse=True)
    sums = np.bincount(image, weights=change)
    signs = numpy_generator(seed, "sign_flips").integers(0, 2, (flips, len(sums)), dtype=np.int8)
    flipped = np.abs((2.0 * signs - 1.0) @ sums)
    reached = flipped >= np.abs(sums.sum()) * (1 - 1e-9)
    return float((1 + reached.sum()) / (1 + flips))


def holm(p: list[float]) -> list[float]:
    """p-values corrected for their number, by Holm's method."""
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p)[order]))
    return corrected[np.argsort(order)].tolist()


def sheet(frame: pd.DataFrame) -> Sheet:
    """The differences as they are read."""
    heads = ("Metric", "Row", "Reference", "Difference", "95 % interval", "p", "p (Holm)",
             "Images", "Chance")  # fmt: skip
    sections = []
    for (tables, row, reference), group in frame.groupby(
        ["tables", "row", "reference"], sort=False
    ):
        many = "Tables" if "," in tables else "Table"
        sections.append(
            Section(
                f"{many} {tables}: {row} − {reference}", [_line(r) for _, r in group.iterrows()]
            )
        )
    labels = frame[frame["label"] != ""].drop_duplicates("metric")
    networks = ", ".join(f"{r['name']} ({r['label']})" for _, r in labels.iterrows())
    return Sheet(
        name="Differences",
        title="Rows of the tables compared with the paper's model, image by image.",
        headers=[Header(head) for head in heads],
        sections=sections,
        notes=[
            METHOD,
            *(f"Data: {text}." for text in frame["data"].unique()),
            *([f"Our networks differ from the paper's for {networks}."] if networks else []),
        ],
        sections_are="Comparison",
        long=True,
    )


def _line(r: pd.Series) -> list[Cell]:
    arrow = "↑" if r["better"] == "higher" else "↓"
    digits = 2 if published.scale(r["metric"]) > 1 else 3
    low, high = (f"{r[side]:+.{digits}f}".replace("-", "−") for side in ("low", "high"))
    return [
        Cell(f"{r['name']} {arrow}"),
        Cell(f"{r['value']:.{digits}f}"),
        Cell(f"{r['reference_value']:.{digits}f}"),
        Cell(f"{r['difference']:+.{digits}f}".replace("-", "−")),
        Cell(f"{low} to {high}"),
        Cell(f"{r['p']:.4f}"),
        Cell(f"{r['p_holm']:.4f}"),
        Cell(str(r["images"])),
        Cell(f"{r['chance']:.{digits}f}, {r['reference_chance']:.{digits}f}".replace("-", "−")),
    ]
