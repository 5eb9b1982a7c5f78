"""What leakage adds: the time-resolved split as published, against the one without leaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from boldvision.errors import UserError
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report import panels, style
from boldvision.report.figure_5 import XLABEL, mark_times, points
from boldvision.report.panels import Point
from boldvision.report.results import Evaluation, Score

PUBLISHED, LEAKAGE_FREE = "as published", "leakage-free"
SPLITS = {"time_resolved": PUBLISHED, "time_resolved_leakage_free": LEAKAGE_FREE}
LEAKING, NOT_LEAKING = "leaking", "not leaking"


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
        Training trials of the two splits.
    """

    test: frozenset[int]
    leaking: frozenset[int]
    excluded: int
    published: int
    leakage_free: int

    @property
    def groups(self) -> dict[str, frozenset[int]]:
        """Test images by whether they leak; only groups that have some."""
        found = {LEAKING: self.leaking, NOT_LEAKING: self.test - self.leaking}
        return {name: images for name, images in found.items() if images}


def find_leaks(trials: pd.DataFrame) -> Leaks:
    """Read the leaks off a trial table's columns of the two time-resolved splits."""
    published, without = trials["split_time_resolved"], trials["split_time_resolved_leakage_free"]
    test = frozenset(trials["image_id"][published == "test"])
    return Leaks(
        test,
        test & frozenset(trials["image_id"][without == "excluded"]),
        excluded=int((without == "excluded").sum()),
        published=int((published == "train").sum()),
        leakage_free=int((without == "train").sum()),
    )


def by_split(
    evaluations: list[Evaluation], rows: Iterable[Mapping[str, Any]]
) -> dict[str, list[Evaluation]]:
    """`PUBLISHED` and `LEAKAGE_FREE`: evaluations, in rows of the same names.

    Parameters
    ----------
    evaluations : list of Evaluation
    rows : iterable of mapping
        What they were read from, with ``split``, that of their run.

    Raises
    ------
    UserError
        A row of the runs table is not a name and the split of its run, as in ``General, as
        published``, or has no counterpart of the other split.
    """
    found: dict[str, list[Evaluation]] = {PUBLISHED: [], LEAKAGE_FREE: []}
    for e, row in zip(evaluations, rows, strict=True):
        name, _, said = e.row.rpartition(", ")
        if not name or said not in found or SPLITS.get(row["split"]) != said:
            raise UserError(
                f"runs table: leakage: row {e.row!r} of run {e.run}, split {row['split']}: "
                f"expected a name, a comma and {' or '.join(found)}, as the run's split is"
            )
        found[said].append(replace(e, row=name))
    published, leakage_free = ({e.row for e in models} for models in found.values())
    if alone := published ^ leakage_free:
        raise UserError(
            f"runs table: leakage: {', '.join(sorted(alone))}: expected a row of either split, "
            "found one; add the other"
        )
    return found


def difference(
    published: Point,
    leakage_free: Point,
    metric: str,
    images: frozenset[int],
    samples: int,
    seed: int,
) -> Score:
    """Mean over test trials of published minus leakage-free, in one test window.

    Parameters
    ----------
    published, leakage_free : Point
        Models of the two splits, tested on the same trials.
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
    one, other = (
        p.evaluation.images(metric, p.test_window)[columns] for p in (published, leakage_free)
    )
    both = one.merge(other, on=["trial", "image_id"], suffixes=("", "_leakage_free"))
    if not len(both) == len(one) == len(other):
        raise UserError(
            f"{leakage_free.evaluation.parquet}: expected the {len(one)} trials of "
            f"{published.evaluation.parquet}, found {len(other)}, {len(both)} of them the same; "
            "evaluate both with the same test set"
        )
    kept = both[both["image_id"].isin(images)]
    values = (kept["value"] - kept["value_leakage_free"]).to_numpy()
    ids = kept["image_id"].to_numpy()
    low, high = bootstrap_interval(values, ids, samples=samples, seed=seed)
    return Score(float(values.mean()), low, high, len(values), 0.0)


@style.styled()
def leakage(
    splits: Mapping[str, list[Evaluation]],
    leaks: Leaks,
    metric: str,
    windows: Mapping[str, Mapping[str, Any]],
    *,
    samples: int,
    seed: int,
    note: str = "",
) -> Figure:
    """Both splits over the time of the test window, and their paired difference.

    Parameters
    ----------
    splits : mapping
        From `by_split`, of one subject; a row is a line of panels.
    leaks : Leaks
        Of that subject.
    metric : str
    windows : mapping
        ``windows`` of the configuration.
    samples, seed : int
        Of the bootstrap over images of a difference.
    note : str
        What to know about the data; shown above the panels.
    """
    curves = {name: points(models, windows) for name, models in splits.items()}
    names = list(curves[PUBLISHED])
    height = 0.9 + 2.5 * len(names)
    figure = Figure(figsize=(style.WIDTH_IN, height), layout="constrained")
    grid = figure.subplots(len(names), 2, sharex=True, sharey="col", squeeze=False)
    for (left, right), name in zip(grid, names, strict=True):
        _draw_splits(left, metric, {split: curves[split][name] for split in curves})
        _draw_differences(
            right, metric, curves[PUBLISHED][name], curves[LEAKAGE_FREE][name], leaks, samples, seed
        )
        left.set_title(name, loc="left", weight="bold")
        for axes in (left, right):
            mark_times(axes, splits[PUBLISHED], windows)
            axes.set_xlabel(XLABEL)
            axes.tick_params(labelbottom=True)
    panels.legend(figure, columns=4)
    style.note(figure, f"{note}\n{explanation(leaks)}")
    return figure


def _draw_splits(axes: Axes, metric: str, curves: Mapping[str, list[Point]]) -> None:
    for split, over_time in curves.items():
        panels.draw_points(axes, split, style.CURVES[split], metric, over_time)
    panels.draw_chance(axes, metric, curves[PUBLISHED])
    panels.name_metric(axes, metric, curves[PUBLISHED][0].evaluation.metrics[metric])


def _draw_differences(
    axes: Axes,
    metric: str,
    published: list[Point],
    leakage_free: list[Point],
    leaks: Leaks,
    samples: int,
    seed: int,
) -> None:
    without = {point.test_window: point for point in leakage_free}
    pairs = [(p, without[p.test_window]) for p in published if p.test_window in without]
    for group, images in leaks.groups.items():
        scores = [difference(*pair, metric, images, samples, seed) for pair in pairs]
        label = f"{group} test images (n = {len(images):,})".capitalize()
        x = [p.x for p, _ in pairs]
        panels.draw_curve(axes, label, style.CURVES[group], metric, x, scores)
    axes.axhline(0, color=style.INK, linewidth=0.9, linestyle=":", label="No difference")
    axes.set_ylabel(f"As published − leakage-free:\n{panels.metric_name(metric)}")


def explanation(leaks: Leaks) -> str:
    """What the difference holds, in words."""
    n_test, n_leaking = len(leaks.test), len(leaks.leaking)
    text = (
        f"As published, {n_leaking:,} of {n_test:,} test images are also shown in training, in "
        f"{leaks.excluded:,} trials. Without these, the leakage-free split trains on "
        f"{leaks.leakage_free:,} trials instead of {leaks.published:,}: on leaking images, the "
        "difference is that of having seen the image and of having more trials"
    )
    if n_leaking < n_test:
        return f"{text}; on the others, of more trials alone."
    return f"{text}. Every test image leaks here, so the two cannot be told apart."
