"""The time-resolved split without test images in training.

As published, another repetition of a test image may be a training trial; here such trials are
``excluded``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from boldvision.trials.splits import time_resolved


def split(trials: pd.DataFrame, *, subject: str, test_runs: int, seed: int) -> np.ndarray:
    """Part of every trial: [trials] of ``train``, ``test`` or ``excluded``.

    Parameters are those of `boldvision.trials.splits.time_resolved`; the trial table has column
    `image_id`, too.
    """
    published = time_resolved.split(trials, subject=subject, test_runs=test_runs, seed=seed)
    is_test = published == "test"
    leaks = trials["image_id"].isin(trials["image_id"][is_test]).to_numpy() & ~is_test
    return np.where(leaks, "excluded", published)
