"""Which trials train a decoder and which test it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boldvision.errors import UserError
from boldvision.seeds import numpy_generator


def add_splits(trials: pd.DataFrame, subject: str, test_runs: int, seed: int) -> pd.DataFrame:
    """The trial table with a column for each split."""
    published = time_resolved(trials, test_runs, seed, subject)
    leakage_free = time_resolved_leakage_free(trials, published)
    return trials.assign(
        split_standard=standard(trials),
        split_time_resolved=published,
        split_time_resolved_leakage_free=leakage_free,
        split_time_resolved_size_matched=time_resolved_size_matched(
            trials, leakage_free, seed, subject
        ),
    )


def standard(trials: pd.DataFrame) -> np.ndarray:
    """NSD's own split: the images that every subject sees are the test set (paper, section 2.3).

    Parameters
    ----------
    trials
        Trial table with column `shared`.

    Returns
    -------
    [trials] of ``train`` or ``test``
    """
    return np.where(trials["shared"], "test", "train")


def time_resolved(trials: pd.DataFrame, test_runs: int, seed: int, subject: str) -> np.ndarray:
    """Whole task runs are the test set, so successive trials are in the same split.

    The runs are drawn from the subject's task runs, as evenly over sessions as their number allows
    (paper, section 2.3: 45 of 480 runs; which ones is not published).

    Parameters
    ----------
    trials
        Trial table with columns `session` and `task_run`.
    test_runs
        Task runs held out.
    seed, subject
        What the draw depends on.

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


def time_resolved_leakage_free(trials: pd.DataFrame, split: np.ndarray) -> np.ndarray:
    """The time-resolved split without test images in training.

    As published, another repetition of a test image may be a training trial; here such trials are
    ``excluded``.

    Parameters
    ----------
    trials
        Trial table with column `image_id`.
    split
        What `time_resolved` returned for it.

    Returns
    -------
    [trials] of ``train``, ``test`` or ``excluded``
    """
    is_test = split == "test"
    leaks = trials["image_id"].isin(trials["image_id"][is_test]).to_numpy() & ~is_test
    return np.where(leaks, "excluded", split)


def time_resolved_size_matched(
    trials: pd.DataFrame, leakage_free: np.ndarray, seed: int, subject: str
) -> np.ndarray:
    """The time-resolved split with as few training trials as the leakage-free one, leaks included.

    It is what the leakage-free split is compared with, where fewer trials are not to count as the
    effect of leakage. In every session as many training trials are ``excluded`` as there, drawn
    among those whose image is not tested, so all that leak stay. Where a session has too few of
    them, the rest is drawn among the others.

    Parameters
    ----------
    trials
        Trial table with column `session`.
    leakage_free
        What `time_resolved_leakage_free` returned for it.
    seed, subject
        What the draw depends on.

    Returns
    -------
    [trials] of ``train``, ``test`` or ``excluded``
    """
    leaks = leakage_free == "excluded"
    random = numpy_generator(seed, "time_resolved_size_matched", subject)
    drawn = pd.DataFrame(
        {"session": trials["session"].to_numpy(), "leaks": leaks, "draw": random.random(len(leaks))}
    )
    drawn = drawn[leakage_free != "test"].sort_values(["leaks", "draw"])
    sessions = drawn.groupby("session")
    excluded = drawn.index[sessions.cumcount() < sessions["leaks"].transform("sum")]
    is_excluded = np.isin(np.arange(len(leaks)), excluded)
    return np.where(is_excluded, "excluded", np.where(leaks, "train", leakage_free))
