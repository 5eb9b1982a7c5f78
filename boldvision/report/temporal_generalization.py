"""Temporal generalization: every model tested in every window (King and Dehaene 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from boldvision.errors import UserError
from boldvision.report import published, style
from boldvision.report.results import Metric, Result
from boldvision.report.times import one_period, times


def matrix(
    evaluations: list[Result], metric: str, windows: Mapping[str, Mapping[str, Any]]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Metric of every training window in every test window, in the paper's units.

    Parameters are those of `temporal_generalization`, of one run.

    Returns
    -------
    values : ndarray [training windows, test windows]
        NaN where a model was not tested.
    training, test : list of str
        Window names, by time.

    Raises
    ------
    UserError
        Two models were trained in one window, or their series have several sampling periods.
    """
    tr_s = one_period(evaluations)

    def by_time(name: str) -> float:
        return times(name, windows, tr_s).upper_end_s

    models: dict[str, Result] = {}
    for e in evaluations:
        other = models.setdefault(e.window, e)
        if other is not e:
            raise UserError(
                f"runs table: temporal_generalization: rows {other.row!r} and {e.row!r}: expected "
                f"one model of {e.run} trained in {e.window}, found two; take one out"
            )
    training = sorted(models, key=by_time)
    test = sorted({window for e in evaluations for window in e.scores}, key=by_time)
    values = np.full((len(training), len(test)), np.nan)
    for i, trained in enumerate(training):
        for j, tested in enumerate(test):
            if tested in models[trained].scores:
                values[i, j] = published.scale(metric) * models[trained].score(metric, tested).value
    return values, training, test


def counted(evaluations: list[Result], metric: str) -> str:
    """How many trials and images a cell is the mean of, in words: identification is among these.

    All rows have the same test set, so the first stands for them; windows may drop other trials.
    """
    first = evaluations[0]
    found = [first.images(metric, window)["image_id"] for window in first.scores]
    trials, images = [len(ids) for ids in found], [ids.nunique() for ids in found]
    return f"Each cell: {_range(trials)} trials of {_range(images)} images"


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


@style.styled()
def temporal_generalization(
    evaluations: list[Result],
    metrics: list[str],
    windows: Mapping[str, Mapping[str, Any]],
    note: str = "",
) -> Figure:
    """Training window by test window, one matrix per run of the configuration and metric.

    Parameters are those of `boldvision.report.figure_5.figure_5`. Both axes are the window's upper
    end, s after onset; the line joins the cells of models tested where they were trained. The note
    ends with the number of trials and images.
    """
    runs: dict[str, list[Result]] = {}
    for e in evaluations:
        runs.setdefault(e.run, []).append(e)
    shown = [(metric, models) for models in runs.values() for metric in metrics]
    heights = [max(2.0, 1.0 + 0.2 * len({e.window for e in models})) for _, models in shown]
    figure = Figure(figsize=(style.WIDTH_IN, 0.3 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    for axes, (metric, models) in zip(panels.flat, shown, strict=True):
        _draw_matrix(axes, models, metric, windows, named=len(runs) > 1)
    style.note(figure, "\n".join(filter(None, [note, counted(evaluations, metrics[0])])))
    return figure


def _draw_matrix(
    axes: Axes,
    models: list[Result],
    metric: str,
    windows: Mapping[str, Mapping[str, Any]],
    named: bool,
) -> None:
    """The matrix of a run and metric; `named` with the rows of the runs table that make it."""
    values, training, test = matrix(models, metric, windows)
    info = models[0].metrics[metric]
    colours = "viridis" if info.better == "higher" else "viridis_r"
    shown = axes.imshow(values, cmap=colours, aspect="auto", interpolation="nearest")
    ends = {
        window: f"{times(window, windows, models[0].tr_s).upper_end_s:.1f}".replace("-", "−")
        for window in {*test, *training}
    }
    axes.set_xticks(range(len(test)), [ends[window] for window in test])
    axes.set_yticks(range(len(training)), [ends[window] for window in training])
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Test window: upper end (s after image onset)")
    axes.set_ylabel("Training window:\nupper end (s)")
    rows = ", ".join(dict.fromkeys(e.row for e in models)) if named else ""
    axes.set_title("; ".join(filter(None, [rows, "" if info.genuine else info.label])))
    _draw_diagonal(axes, [(test.index(w), i) for i, w in enumerate(training) if w in test])
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.015, fraction=0.05)
    _draw_bar(bar, metric, info, _chance(models, metric))


def _chance(evaluations: list[Result], metric: str) -> float:
    """Mean over all cells, in the paper's units."""
    found = [e.score(metric, window).chance for e in evaluations for window in e.scores]
    return published.scale(metric) * float(np.mean(found))


def _draw_diagonal(axes: Axes, cells: list[tuple[int, int]]) -> None:
    x, y = np.array(cells).reshape(-1, 2).T
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
