"""Panels of metrics: one per metric, curves with their intervals, chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from boldvision.report import published, style
from boldvision.report.results import Metric, Result, Score


class Point(NamedTuple):
    """A point of a curve: where it lies on the x axis, and a model tested in a window."""

    x: float
    evaluation: Result
    test_window: str

    def score(self, metric: str) -> Score:
        """The pooled metric."""
        return self.evaluation.score(metric, self.test_window)


def metric_panels(
    metrics: Sequence[str], curves: Mapping[str, Sequence[Point]], xlabel: str, note: str
) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per metric, without legend.

    Parameters
    ----------
    metrics : sequence of str
        Metrics that every evaluation has.
    curves : mapping
        Name of a curve to its points. Chance is that of the curve with the most points.
    xlabel : str
        With the unit.
    note : str
        What to know about the data; shown above the panels.

    Returns
    -------
    figure, panels
        Scores are in the paper's units; bands and bars are 95 % intervals over images.
    """
    columns = min(2, len(metrics))
    n_rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(style.WIDTH_IN, 0.7 + 2.1 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, columns, squeeze=False, sharex=True).flatten()
    panels = list(grid[: len(metrics)])
    longest = max(curves.values(), key=len)
    looks = style.looks(curves)
    for axes, metric in zip(panels, metrics, strict=True):
        for name, points in curves.items():
            draw_points(axes, name, looks[name], metric, points)
        draw_chance(axes, metric, longest)
        name_metric(axes, metric, longest[0].evaluation.metrics[metric])
    for axes in grid[len(metrics) :]:
        axes.remove()
    for axes in panels[-columns:]:
        axes.set_xlabel(xlabel)
        axes.tick_params(labelbottom=True)
    style.note(figure, note)
    return figure, panels


def draw_points(
    axes: Axes, name: str, look: Mapping[str, Any], metric: str, points: Sequence[Point]
) -> None:
    """A curve of a metric with its intervals."""
    draw_curve(axes, name, look, metric, [p.x for p in points], [p.score(metric) for p in points])


def draw_curve(
    axes: Axes,
    name: str,
    look: Mapping[str, Any],
    metric: str,
    x: Sequence[float],
    scores: Sequence[Score],
) -> None:
    """Values in the paper's units over `x`; intervals as a band, or as bars where it is dashed."""
    value, low, high, *_ = published.scale(metric) * np.array(scores).T
    axes.plot(x, value, **look, label=_entry(name), zorder=3)
    if look["linestyle"] == "-":
        band = {"color": look["color"], "alpha": 0.3, "linewidth": 0}
        axes.fill_between(x, low, high, **band, label="95 % interval")
    else:
        axes.vlines(x, low, high, color=look["color"], linewidth=1)


def _entry(name: str) -> str:
    """A name as Matplotlib lists it in a legend: one that begins with ``_`` it would leave out."""
    return f" {name}" if name.startswith("_") else name


def draw_chance(axes: Axes, metric: str, points: Sequence[Point]) -> None:
    """What a reconstruction unrelated to its stimulus scores, at every point."""
    chance = [published.scale(metric) * p.score(metric).chance for p in points]
    x = [p.x for p in points]
    axes.plot(x, chance, color=style.INK, linewidth=0.9, linestyle=":", label="Chance")


def name_metric(axes: Axes, metric: str, info: Metric) -> None:
    """Name, unit and direction of the metric; its network where it is not the paper's."""
    axes.set_ylabel(f"{metric_name(metric)} {'↑' if info.better == 'higher' else '↓'}")
    axes.set_title("" if info.genuine else info.label)


def metric_name(metric: str) -> str:
    """Name of a metric in the paper, with its unit."""
    name, percent = published.METRICS[metric]
    return f"{name} (%)" if percent else name


def full_metric_name(metric: str, info: Metric) -> str:
    """Name of a metric with its unit, and its network where it is not the paper's."""
    return metric_name(metric) + ("" if info.genuine else f" [{info.label}]")


def legend(figure: Figure, columns: int = 6) -> None:
    """One legend below all panels, of `columns` entries in a row, or fewer if they are too wide."""
    entries = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    for number in range(min(len(entries), columns), 0, -1):
        drawn = figure.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=number
        )
        if number == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            return
        drawn.remove()
