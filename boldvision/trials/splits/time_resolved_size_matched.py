"""The time-resolved split with as few training trials as the leakage-free one, leaks included.

It is what the leakage-free split is compared with, where fewer trials are not to count as the
effect of leakage. In every session as many training trials are ``excluded`` as there, drawn among
those whose image is not tested, so all that leak stay. Where a session has too few of them, the
rest is drawn among the others.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from boldvision.seeds import numpy_generator
from boldvision.trials.splits import time_resolved_leakage_free


def split(trials: pd.DataFrame, *, subject: str, test_runs: int, seed: int) -> np.ndarray:
    """Part of every trial: [trials] of ``train``, ``test`` or ``excluded``.

    Parameters are those of `boldvision.trials.splits.time_resolved_leakage_free`.
    """
    leakage_free = time_resolved_leakage_free.split(
        trials, subject=subject, test_runs=test_runs, seed=seed
    )
    return match(trials["session"].to_numpy(), leakage_free, subject, seed)


def match(session: np.ndarray, leakage_free: np.ndarray, subject: str, seed: int) -> np.ndarray:
    """The split, of the session [trials] and the leakage-free part [trials] of every trial."""
    leaks = leakage_free == "excluded"
    random = numpy_generator(seed, "time_resolved_size_matched", subject)
    drawn = pd.DataFrame({"session": session, "leaks": leaks, "draw": random.random(len(leaks))})
    drawn = drawn[leakage_free != "test"].sort_values(["leaks", "draw"])
    sessions = drawn.groupby("session")
    excluded = drawn.index[sessions.cumcount() < sessions["leaks"].transform("sum")]
    is_excluded = np.isin(np.arange(len(leaks)), excluded)
    return np.where(is_excluded, "excluded", np.where(leaks, "train", leakage_free))
