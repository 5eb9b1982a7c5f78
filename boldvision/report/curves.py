"""Which model and test window make a point of a curve over time."""

from __future__ import annotations

from boldvision.errors import UserError
from boldvision.report.results import Evaluation

GENERAL = "General"
SPECIALIZED = "Specialized"


def general(evaluations: list[Evaluation]) -> Evaluation:
    """The one model that is tested in every window (paper, section 3.1, "General").

    Raises
    ------
    UserError
        There is none, or several.
    """
    found = [e for e in evaluations if e.row == GENERAL]
    if len(found) != 1:
        raise UserError(
            f"runs table: expected one model in row {GENERAL}, found {len(found)}; give it one "
            "window and the subjects `first`"
        )
    return found[0]


def diagonal(evaluations: list[Evaluation]) -> dict[str, Evaluation]:
    """Training window: the model trained and tested there (paper, "Specialized").

    The model of the window that the general model was trained in is the general model itself.
    """
    models = [general(evaluations), *(e for e in evaluations if e.row != GENERAL)]
    return {e.window: e for e in models if e.window in e.scores}


def curves(evaluations: list[Evaluation]) -> dict[str, dict[str, Evaluation]]:
    """Curve: test window: the model that is tested there."""
    model = general(evaluations)
    return {
        GENERAL: dict.fromkeys(model.scores, model),
        SPECIALIZED: diagonal(evaluations),
    }
