"""Temporal generalization: every model tested in every window (King and Dehaene 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from boldvision.report import published, style
from boldvision.report.results import Evaluation, Metric
from boldvision.report.times import times


def matrix(
    evaluations: list[Evaluation], metric: str, windows: Mapping[str, Mapping[str, Any]]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Metric of every training window in every test window, in the paper's units.

    Returns
    -------
    values : ndarray [training windows, test windows]
        NaN where a model was not tested.
    training, test : list of str
        Window names, by time.
    """

    def by_time(name: str) -> float:
        return times(name, windows).upper_end_s

    models = {e.window: e for e in evaluations}
    training = sorted(models, key=by_time)
    test = sorted({window for e in evaluations for window in e.scores}, key=by_time)
    values = np.full((len(training), len(test)), np.nan)
    for i, trained in enumerate(training):
        for j, tested in enumerate(test):
            if tested in models[trained].scores:
                values[i, j] = published.scale(metric) * models[trained].score(metric, tested).value
    return values, training, test


@style.styled()
def temporal_generalization(
    evaluations: list[Evaluation],
    metrics: list[str],
    windows: Mapping[str, Mapping[str, Any]],
    note: str = "",
) -> Figure:
    """Training window by test window, one matrix per metric.

    Parameters are those of `boldvision.report.figure_5.figure_5`. Both axes are the window's upper
    end, s after onset; the line joins the cells of models tested where they were trained.
    """
    height = max(2.0, 1.0 + 0.2 * len({e.window for e in evaluations}))
    figure = Figure(figsize=(style.WIDTH_IN, 0.3 + height * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, squeeze=False)
    for axes, metric in zip(panels.flat, metrics, strict=True):
        values, training, test = matrix(evaluations, metric, windows)
        info = evaluations[0].metrics[metric]
        colours = "viridis" if info.better == "higher" else "viridis_r"
        shown = axes.imshow(values, cmap=colours, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(len(test)), [_seconds(w, windows) for w in test])
        axes.set_yticks(range(len(training)), [_seconds(w, windows) for w in training])
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.set_xlabel("Test window: upper end (s after image onset)")
        axes.set_ylabel("Training window:\nupper end (s)")
        axes.set_title("" if info.genuine else info.label)
        _draw_diagonal(axes, [(test.index(w), i) for i, w in enumerate(training) if w in test])
        bar = figure.colorbar(shown, ax=axes, pad=0.015, fraction=0.05)
        _draw_bar(bar, metric, info, _chance(evaluations, metric))
    style.note(figure, note)
    return figure


def _chance(evaluations: list[Evaluation], metric: str) -> float:
    """Mean over all cells, in the paper's units."""
    found = [e.score(metric, window).chance for e in evaluations for window in e.scores]
    return published.scale(metric) * float(np.mean(found))


def _seconds(window: str, windows: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{times(window, windows).upper_end_s:.1f}".replace("-", "−")


def _draw_diagonal(axes: Axes, cells: list[tuple[int, int]]) -> None:
    x, y = zip(*cells, strict=True)
    axes.plot(x, y, color="white", linewidth=2.4)
    axes.plot(x, y, color=style.INK, linewidth=1, marker="o", markersize=3, markerfacecolor="white")


def _draw_bar(bar: Colorbar, metric: str, info: Metric, chance: float) -> None:
    """Label the colour bar; mark chance where it lies in its range."""
    name, percent = published.METRICS[metric]
    label = f"{name} (%)" if percent else name
    label += f"\n{info.better} is better"
    bar.outline.set_visible(False)
    low, high = bar.mappable.get_clim()
    if low <= chance <= high:
        bar.ax.axhline(chance, color="white", linewidth=2.4)
        bar.ax.axhline(chance, color=style.INK, linewidth=1)
        label += "; line: chance"
    bar.set_label(label)
