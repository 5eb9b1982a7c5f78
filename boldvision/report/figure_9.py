"""Figure 9: decoding after few training sessions, pretrained on other subjects or not."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from boldvision.config import split_run_name
from boldvision.errors import UserError
from boldvision.report import style
from boldvision.report.panels import Point, legend, metric_panels
from boldvision.report.results import Result

PRETRAINED, NOT_PRETRAINED = "Pretrained", "Not pretrained"


def training_sessions(evaluation: Result, all_sessions: int) -> int:
    """Sessions that a model was trained on: in its run's name, or all of the subject's."""
    return split_run_name(evaluation.run)[1] or all_sessions


def points(evaluations: list[Result], all_sessions: int) -> dict[str, list[Point]]:
    """Curve: its points over the number of training sessions, in order.

    Raises
    ------
    UserError
        A row has two models of as many sessions.
    """
    curves: dict[str, list[Point]] = {}
    for e in sorted(evaluations, key=lambda e: (e.row, training_sessions(e, all_sessions))):
        point = Point(training_sessions(e, all_sessions), e, e.window)
        curve = curves.setdefault(e.row, [])
        if curve and curve[-1].x == point.x:
            raise UserError(
                f"runs table: figure_9: row {e.row!r}: expected one model of {point.x} sessions, "
                f"found {curve[-1].evaluation.run} and {e.run}; give each run a row of its own"
            )
        curve.append(point)
    return curves


@style.styled()
def figure_9(
    evaluations: list[Result], metrics: list[str], all_sessions: int, note: str = ""
) -> Figure:
    """Every metric over the number of training sessions (paper, Figure 9).

    Parameters
    ----------
    evaluations : list of Result
        Of one subject; a row is a curve.
    metrics : list of str
        One panel each.
    all_sessions : int
        Sessions of the subject, on which a run without a number in its name is trained.
    note : str
        What to know about the data; shown above the panels.

    Returns
    -------
    Figure
        The axis is logarithmic; bands and bars are 95 % intervals over images.
    """
    curves = points(evaluations, all_sessions)
    figure, panels = metric_panels(metrics, curves, "Training sessions of the subject", note)
    ticks = sorted({point.x for curve in curves.values() for point in curve})
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    legend(figure)
    return figure
