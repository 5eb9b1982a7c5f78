"""Whole task runs are the test set, so successive trials are in the same split.

The runs are drawn from the subject's task runs, as evenly over sessions as their number allows
(paper, section 2.3: 45 of 480 runs; which ones is not published).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from boldvision.errors import UserError
from boldvision.seeds import numpy_generator


def split(trials: pd.DataFrame, *, subject: str, test_runs: int, seed: int) -> np.ndarray:
    """Part of every trial.

    Parameters
    ----------
    trials
        Trial table with columns `session` and `task_run`.
    subject, seed
        What the draw depends on.
    test_runs
        Task runs held out.

    Returns
    -------
    [trials] of ``train`` or ``test``

    Raises
    ------
    UserError
        No run would be left for training.
    """
    runs = trials[["session", "task_run"]].drop_duplicates()
    if not 0 < test_runs < len(runs):
        raise UserError(
            f"{subject}: time_resolved_test_runs is {test_runs}; expected 1 to {len(runs) - 1}, "
            f"since the subject has {len(runs)} task runs; change it in the configuration"
        )
    random = numpy_generator(seed, "time_resolved", subject)
    # The n-th run drawn from a session is taken in round n, sessions of one round in random order.
    drawn = runs.sample(frac=1, random_state=random)
    drawn = drawn.assign(round=drawn.groupby("session").cumcount())
    held_out = drawn.sort_values("round", kind="stable").head(test_runs)
    is_test = pd.MultiIndex.from_frame(trials[["session", "task_run"]]).isin(
        pd.MultiIndex.from_frame(held_out[["session", "task_run"]])
    )
    return np.where(is_test, "test", "train")
