"""Figure 6: decoding from windows of different durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from boldvision.errors import UserError
from boldvision.report import style
from boldvision.report.panels import Point, legend, metric_panels
from boldvision.report.results import Result
from boldvision.report.times import WindowTimes, times


def durations(
    evaluations: list[Result], windows: Mapping[str, Mapping[str, Any]]
) -> list[tuple[WindowTimes, Result]]:
    """Models by the duration of their window, the shortest first.

    Raises
    ------
    UserError
        The windows start at different times, or two of a run have the same duration.
    """
    found = sorted(
        ((times(e.window, windows, e.tr_s), e) for e in evaluations), key=lambda pair: pair[0].n_tr
    )
    starts = {window.start_s for window, _ in found}
    lengths = {(e.run, window.n_tr) for window, e in found}
    if len(starts) > 1 or len(lengths) < len(found):
        raise UserError(
            f"figure 6: windows {', '.join(e.window for _, e in found)}: expected one start and "
            f"{len(found)} durations, found {len(starts)} and {len(lengths)}; correct `windows` "
            "or the runs table"
        )
    return found


@style.styled()
def figure_6(
    evaluations: list[Result],
    metrics: list[str],
    windows: Mapping[str, Mapping[str, Any]],
    note: str = "",
) -> Figure:
    """Every metric over the duration of the window (paper, Figure 6).

    Parameters are those of `boldvision.report.figure_5.figure_5`; each evaluation is a model
    trained and tested in a window of its own duration, all with the same start. A run of the
    configuration is a curve.
    """
    models = durations(evaluations, windows)
    curves: dict[str, list[Point]] = {}
    for window, e in models:
        curves.setdefault(_decoder(e.run), []).append(Point(window.duration_s, e, e.window))
    xlabel = f"Duration from {models[0][0].start_s:.1f} s after image onset: s (TRs)"
    figure, panels = metric_panels(metrics, curves, xlabel, note)
    ticks = {w.duration_s: f"{w.duration_s:.1f}\n({w.n_tr})" for w, _ in models}
    for axes in panels:
        axes.set_xticks(list(ticks), list(ticks.values()))
    legend(figure)
    return figure


def _decoder(run: str) -> str:
    """Name of a run as rows of tables are named: ``nearest_image`` is Nearest image."""
    return run.replace("_", " ").capitalize()
