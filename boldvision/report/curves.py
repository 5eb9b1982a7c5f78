"""Which model and test window make a point of a curve over time.

What a row is, its models tell, not its name: *one model* is trained in one window and tested in
several (paper, section 3.1, "General"), *a model per window* is trained anew for every shift of a
window and tested there ("Specialized").
"""

from __future__ import annotations

from boldvision.config import split_window_name
from boldvision.errors import UserError
from boldvision.report.results import Result


def curves(evaluations: list[Result]) -> dict[str, dict[str, Result]]:
    """Row of the runs table: test window: the model that is shown there.

    In the window that one model of a run is trained in, the run's row of a model per window shows
    that one.

    Parameters
    ----------
    evaluations : list of Result
        Of one subject.

    Raises
    ------
    UserError
        A row has models of several runs, or several of a window.
    """
    single = one_models(evaluations).values()
    found: dict[str, dict[str, Result]] = {}
    for row, models in _by_window(evaluations).items():
        first = next(iter(models.values()))
        if _is_one(models):
            found[row] = dict.fromkeys(first.scores, first)
        else:
            shared = {e.window: e for e in single if _relation(e) == _relation(first)}
            found[row] = {w: e for w, e in {**shared, **models}.items() if w in e.scores}
        if not found[row]:
            raise UserError(
                f"runs table: row {row!r}: expected models tested where they were trained "
                f"({', '.join(models)}), found none; give it the test set of its own windows"
            )
    return found


def one_models(evaluations: list[Result]) -> dict[str, Result]:
    """Row that is one model: that model, in the order of the runs table."""
    rows = _by_window(evaluations).items()
    return {row: next(iter(models.values())) for row, models in rows if _is_one(models)}


def origin(evaluations: list[Result]) -> str:
    """The window that shifts count from: the first one model's, or the one that all are shifts of.

    Parameters
    ----------
    evaluations : list of Result
        Of one subject.
    """
    single = [e.window for e in one_models(evaluations).values()]
    return single[0] if single else split_window_name(evaluations[0].window)[0]


def _by_window(evaluations: list[Result]) -> dict[str, dict[str, Result]]:
    """Row: training window: model."""
    rows: dict[str, dict[str, Result]] = {}
    for e in evaluations:
        models = rows.setdefault(e.row, {})
        first = next(iter(models.values()), e)
        if e.window in models or (e.run, e.subjects) != (first.run, first.subjects):
            raise UserError(
                f"runs table: row {e.row!r}: expected one run, with one model of a window, found "
                f"{first.run} ({first.subjects}, {', '.join(models)}) and {e.run} ({e.subjects}, "
                f"{e.window}); give each run a row of its own"
            )
        models[e.window] = e
    return rows


def _is_one(models: dict[str, Result]) -> bool:
    """One model, and not the only shift that a scope has a model of its own for."""
    first, *others = models.values()
    elsewhere = set(first.scores) != {first.window} or not split_window_name(first.window)[1]
    return not others and elsewhere


def _relation(e: Result) -> tuple[str, str, str]:
    """What the models of all shifts have in common."""
    return e.run, e.subjects, split_window_name(e.window)[0]
