"""Figure 5: decoding over time, by one model or by a model per window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from boldvision.report import style
from boldvision.report.curves import curves, one_models
from boldvision.report.panels import Point, legend, metric_panels
from boldvision.report.results import Result
from boldvision.report.times import Timing, times

XLABEL = "Upper end of the test window (s after image onset)"


@style.styled()
def figure_5(
    evaluations: list[Result],
    metrics: list[str],
    windows: Mapping[str, Mapping[str, Any]],
    timing: Timing,
    note: str = "",
) -> Figure:
    """Every metric over the test windows (paper, Figure 5).

    Parameters
    ----------
    evaluations : list of Result
        Of one subject; a row is a curve, as in `boldvision.report.curves.curves`.
    metrics : list of str
        One panel each.
    windows : mapping
        ``windows`` of the configuration.
    timing : Timing
    note : str
        What to know about the data; shown above the panels.

    Returns
    -------
    Figure
        The time axis is the window's upper end, s after onset; bands and bars are 95 % intervals
        over images.
    """
    over_time = points(evaluations, windows)
    figure, panels = metric_panels(metrics, over_time, XLABEL, note)
    for axes in panels:
        mark_times(axes, evaluations, windows, timing)
    legend(figure)
    return figure


def points(
    evaluations: list[Result], windows: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[Point]]:
    """Curve: its points over the upper end of the test window (s after onset), by time."""
    return {
        name: sorted(
            (
                Point(times(window, windows, model.tr_s).upper_end_s, model, window)
                for window, model in models.items()
            ),
            key=lambda point: point.x,
        )
        for name, models in curves(evaluations).items()
    }


def mark_times(
    axes: Axes,
    evaluations: list[Result],
    windows: Mapping[str, Mapping[str, Any]],
    timing: Timing,
) -> None:
    """Mark the time in which the image is shown, and where the rows of one model are trained."""
    axes.xaxis.set_major_locator(MultipleLocator(timing.trial_s))
    axes.axvspan(0, timing.stimulus_s, color=style.FAINT, alpha=0.18, linewidth=0,
                 label="Image shown")  # fmt: skip
    single = one_models(evaluations)
    for trained_s in {times(e.window, windows, e.tr_s).upper_end_s for e in single.values()}:
        axes.axvline(trained_s, color=style.FAINT, linewidth=0.8, linestyle="-.",
                     label=f"Trained here ({', '.join(single)})")  # fmt: skip
