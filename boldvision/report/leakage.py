"""What leakage adds: the time-resolved split as published, without leaks, and with fewer trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from boldvision.errors import UserError
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report import panels, style
from boldvision.report.figure_5 import XLABEL, mark_times, points
from boldvision.report.panels import Point
from boldvision.report.results import Result, Score
from boldvision.report.times import Timing

PUBLISHED, LEAKAGE_FREE, SIZE_MATCHED = "as published", "leakage-free", "size-matched"
SPLITS = {
    "time_resolved": PUBLISHED,
    "time_resolved_leakage_free": LEAKAGE_FREE,
    "time_resolved_size_matched": SIZE_MATCHED,
}
ON_OTHERS = "as published, on images that do not leak"
FEWEST_IMAGES = 20
"""Images from which a difference is told.

Their 95 % intervals, of a percentile bootstrap, cover the mean of normal (of exponential) values in
93 (90) % with 20 images, and in 87 to 89 (83 to 86) % with 7 to 9, as do not leak in NSD.
"""


@dataclass(frozen=True)
class Leaks:
    """Where the published time-resolved split of a subject leaks.

    Attributes
    ----------
    test, leaking : frozenset of int
        image_ids of test trials, and those of them that are shown in training trials too.
    excluded : int
        The training trials that show them, left out of the leakage-free split.
    published, leakage_free : int
        Training trials of the two splits; the size-matched one has as many as the latter.
    """

    test: frozenset[int]
    leaking: frozenset[int]
    excluded: int
    published: int
    leakage_free: int

    @property
    def others(self) -> frozenset[int]:
        """image_ids of test trials that no training trial shows."""
        return self.test - self.leaking


def find_leaks(trials: pd.DataFrame, splits: Mapping[str, np.ndarray]) -> Leaks:
    """Read the leaks off a trial table and the two time-resolved splits of it, by their names."""
    published, without = splits["time_resolved"], splits["time_resolved_leakage_free"]
    test = frozenset(trials["image_id"][published == "test"])
    return Leaks(
        test,
        test & frozenset(trials["image_id"][without == "excluded"]),
        excluded=int((without == "excluded").sum()),
        published=int((published == "train").sum()),
        leakage_free=int((without == "train").sum()),
    )


def by_split(
    evaluations: list[Result], rows: Iterable[Mapping[str, Any]]
) -> dict[str, list[Result]]:
    """Evaluations of each split, in rows of the same names; size-matched ones need not be there.

    Parameters
    ----------
    evaluations : list of Result
    rows : iterable of mapping
        What they were read from, with ``split``, that of their run.

    Raises
    ------
    UserError
        A row of the runs table is not a name and the split of its run, as in ``General, as
        published``, or is not there both as published and leakage-free.
    """
    found: dict[str, list[Result]] = {split: [] for split in SPLITS.values()}
    for e, row in zip(evaluations, rows, strict=True):
        name, _, said = e.row.rpartition(", ")
        if not name or said not in found or SPLITS.get(row["split"]) != said:
            raise UserError(
                f"runs table: leakage: row {e.row!r} of run {e.run}, split {row['split']}: "
                f"expected a name, a comma and {' or '.join(found)}, as the run's split is"
            )
        found[said].append(replace(e, row=name))
    names = {split: {e.row for e in models} for split, models in found.items()}
    both = names[PUBLISHED] & names[LEAKAGE_FREE]
    if alone := set().union(*names.values()) - both:
        raise UserError(
            f"runs table: leakage: {', '.join(sorted(alone))}: expected a row {PUBLISHED} and one "
            f"{LEAKAGE_FREE}, found one of them, or neither; add what is missing"
        )
    return found


def difference(
    one: Point, other: Point, metric: str, images: frozenset[int], samples: int, seed: int
) -> Score:
    """Mean over test trials of one model minus another, in one test window.

    Parameters
    ----------
    one, other : Point
        Models of two splits, tested on the same trials.
    metric : str
        A fraction, and so is the difference.
    images : frozenset of int
        image_ids that are kept.
    samples, seed : int
        Of the bootstrap over images.

    Returns
    -------
    Score
        With chance 0: no difference.

    Raises
    ------
    UserError
        The models were not tested on the same trials.
    """
    columns = ["trial", "image_id", "value"]
    left, right = (p.evaluation.images(metric, p.test_window)[columns] for p in (one, other))
    both = left.merge(right, on=["trial", "image_id"], suffixes=("", "_other"))
    if not len(both) == len(left) == len(right):
        raise UserError(
            f"{other.evaluation.parquet}: expected the {len(left)} trials of "
            f"{one.evaluation.parquet}, found {len(right)}, {len(both)} of them the same; "
            "evaluate both with the same test set"
        )
    kept = both[both["image_id"].isin(images)]
    values, ids = (kept["value"] - kept["value_other"]).to_numpy(), kept["image_id"].to_numpy()
    low, high = bootstrap_interval(values, ids, samples=samples, seed=seed)
    return Score(float(values.mean()), low, high, len(values), 0.0)


@style.styled()
def leakage(
    splits: Mapping[str, list[Result]],
    leaks: Leaks,
    metric: str,
    windows: Mapping[str, Mapping[str, Any]],
    timing: Timing,
    *,
    samples: int,
    seed: int,
    note: str = "",
) -> Figure:
    """Every split over the time of the test window, and its paired difference to leakage-free.

    Parameters
    ----------
    splits : mapping
        From `by_split`, of one subject; a row is a line of panels.
    leaks : Leaks
        Of that subject.
    metric : str
    windows : mapping
        ``windows`` of the configuration.
    timing : Timing
    samples, seed : int
        Of the bootstrap over images of a difference.
    note : str
        What to know about the data; shown above the panels.
    """
    curves = {split: points(models, windows) for split, models in splits.items()}
    names = list(curves[PUBLISHED])
    height = 1.1 + 2.5 * len(names)
    figure = Figure(figsize=(style.WIDTH_IN, height), layout="constrained")
    grid = figure.subplots(len(names), 2, sharex=True, sharey="col", squeeze=False)
    for (left, right), name in zip(grid, names, strict=True):
        shown = {split: models[name] for split, models in curves.items() if name in models}
        _draw_splits(left, metric, shown)
        _draw_differences(right, metric, shown, leaks, samples, seed)
        left.set_title(name, loc="left", weight="bold")
        for axes in (left, right):
            mark_times(axes, splits[PUBLISHED], windows, timing)
            axes.set_xlabel(XLABEL)
            axes.tick_params(labelbottom=True)
    panels.legend(figure, columns=4)
    style.note(figure, f"{note}\n{explanation(leaks, controlled=bool(curves[SIZE_MATCHED]))}")
    return figure


def _draw_splits(axes: Axes, metric: str, curves: Mapping[str, list[Point]]) -> None:
    for split, over_time in curves.items():
        panels.draw_points(axes, split, style.CURVES[split], metric, over_time)
    panels.draw_chance(axes, metric, curves[PUBLISHED])
    panels.name_metric(axes, metric, curves[PUBLISHED][0].evaluation.metrics[metric])


def _draw_differences(
    axes: Axes,
    metric: str,
    curves: Mapping[str, list[Point]],
    leaks: Leaks,
    samples: int,
    seed: int,
) -> None:
    without = {point.test_window: point for point in curves[LEAKAGE_FREE]}
    compared = [(split, split, leaks.leaking) for split in curves if split != LEAKAGE_FREE]
    compared.append((ON_OTHERS, PUBLISHED, leaks.others))
    for name, split, images in compared:
        if len(images) < FEWEST_IMAGES:
            continue
        pairs = [(p, without[p.test_window]) for p in curves[split] if p.test_window in without]
        scores = [difference(*pair, metric, images, samples, seed) for pair in pairs]
        x = [p.x for p, _ in pairs]
        panels.draw_curve(axes, name, style.CURVES[name], metric, x, scores)
    axes.axhline(0, color=style.INK, linewidth=0.9, linestyle=":", label="No difference")
    axes.set_title(f"On the {len(leaks.leaking):,} test images that leak", loc="left")
    axes.set_ylabel(f"Difference to leakage-free:\n{panels.metric_name(metric)}")


def explanation(leaks: Leaks, controlled: bool) -> str:
    """What the differences hold, in words; `controlled` if there is a size-matched model."""
    n_leaking, n_others = len(leaks.leaking), len(leaks.others)
    text = (
        f"As published, {n_leaking:,} of {len(leaks.test):,} test images are also shown in "
        f"training, in {leaks.excluded:,} trials. Without these, the leakage-free split trains on "
        f"{leaks.leakage_free:,} trials instead of {leaks.published:,}: the difference is that of "
        "having seen the image and of having more trials."
    )
    if controlled:
        text += (
            " The size-matched split trains on as few, but keeps these: its difference to "
            "leakage-free is that of having seen the image."
        )
    few = f"too few to tell a difference by (fewer than {FEWEST_IMAGES}), so none is drawn."
    if n_leaking < FEWEST_IMAGES:
        text += f" Images that leak: {n_leaking}, {few}"
    if n_others < FEWEST_IMAGES:
        return f"{text} Images that do not leak: {n_others}, {few}"
    return (
        f"{text} On the {n_others:,} images that do not leak, as published has more trials alone."
    )
