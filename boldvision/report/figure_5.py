"""Figure 5: decoding over time, by one model and by a model per window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from boldvision.report import published, style
from boldvision.report.curves import GENERAL, curves, general
from boldvision.report.results import Evaluation, Metric
from boldvision.report.times import STIMULUS_S, TRIAL_S, times


@style.styled()
def figure_5(
    evaluations: list[Evaluation],
    metrics: list[str],
    windows: Mapping[str, Mapping[str, Any]],
    note: str = "",
) -> Figure:
    """Every metric over the test windows (paper, Figure 5).

    Parameters
    ----------
    evaluations : list of Evaluation
        Rows ``General`` (one model, every window) and ``Specialized`` (a model per window).
    metrics : list of str
        One panel each.
    windows : mapping
        ``windows`` of the configuration.
    note : str
        What to know about the data; shown above the panels.

    Returns
    -------
    Figure
        The time axis is the window's upper end, s after onset; bands and bars are bootstrap 95 %
        intervals over images.
    """
    lines = curves(evaluations)
    columns = min(2, len(metrics))
    n_rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(style.WIDTH_IN, 0.7 + 2.1 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False, sharex=True)
    trained_s = times(general(evaluations).window, windows).upper_end_s
    for axes, metric in zip(panels.flat, metrics, strict=False):
        for name, points in lines.items():
            _draw_curve(axes, name, metric, points, windows)
        _draw_chance(axes, metric, lines[GENERAL], windows)
        _annotate(axes, metric, evaluations[0].metrics[metric], trained_s)
    for axes in panels.flat[len(metrics) :]:
        axes.remove()
    for axes in panels.flat[max(0, len(metrics) - columns) : len(metrics)]:
        axes.set_xlabel("Upper end of the test window (s after image onset)")
        axes.tick_params(labelbottom=True)
    legend = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend))
    figure.suptitle(note, fontsize=8)
    return figure


def _draw_curve(
    axes: Axes,
    name: str,
    metric: str,
    points: dict[str, Evaluation],
    windows: Mapping[str, Mapping[str, Any]],
) -> None:
    x, value, low, high, _ = _points(metric, points, windows)
    look = style.CURVES[name]
    axes.plot(x, value, **look, label=name, zorder=3)
    if look["linestyle"] == "-":
        axes.fill_between(
            x, low, high, color=look["color"], alpha=0.3, linewidth=0, label="95 % interval"
        )
    else:
        axes.vlines(x, low, high, color=look["color"], linewidth=1)


def _draw_chance(
    axes: Axes,
    metric: str,
    points: dict[str, Evaluation],
    windows: Mapping[str, Mapping[str, Any]],
) -> None:
    x, *_, chance = _points(metric, points, windows)
    axes.plot(x, chance, color=style.INK, linewidth=0.9, linestyle=":", label="Chance")


def _points(
    metric: str, points: dict[str, Evaluation], windows: Mapping[str, Mapping[str, Any]]
) -> np.ndarray:
    """Upper end (s), value, low, high and chance (the paper's units) [5, windows], by time."""
    found = []
    for window, model in points.items():
        score = model.score(metric, window)
        numbers = np.array([score.value, score.low, score.high, score.chance])
        found.append([times(window, windows).upper_end_s, *published.scale(metric) * numbers])
    return np.array(sorted(found)).T


def _annotate(axes: Axes, metric: str, info: Metric, trained_s: float) -> None:
    name, percent = published.METRICS[metric]
    arrow = "↑" if info.better == "higher" else "↓"
    axes.set_ylabel(f"{name} (%) {arrow}" if percent else f"{name} {arrow}")
    axes.set_title("" if info.genuine else info.label)
    axes.xaxis.set_major_locator(MultipleLocator(TRIAL_S))
    axes.axvspan(0, STIMULUS_S, color=style.FAINT, alpha=0.18, linewidth=0, label="Image shown")
    axes.axvline(trained_s, color=style.FAINT, linewidth=0.8, linestyle="-.",
                 label="Trained here (General)")  # fmt: skip
