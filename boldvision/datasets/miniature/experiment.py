"""The miniature's experiment: which image is shown when, in the fields of nsd_expdesign.mat."""

from __future__ import annotations

import numpy as np

from boldvision.config import Design
from boldvision.datasets.nsd.design import REPETITIONS, SLOTS, SUBJECTS
from boldvision.datasets.nsd.runs import TASK_RUNS, TRIALS_PER_SESSION
from boldvision.seeds import numpy_generator


def experiment_design(design: Design, sessions: int, seed: int) -> dict[str, np.ndarray]:
    """Fields, dtypes and index bases of nsd_expdesign.mat, for fewer sessions and images.

    Parameters
    ----------
    design : Design
        Numbers of images.
    sessions : int
        NSD core sessions; ``750 * sessions`` trials show each image three times.
    seed : int
        Seed of the order of images and of the blank slots.

    Returns
    -------
    dict of str to ndarray
        ``masterordering`` (1, trials) uint16, 1-based; ``subjectim`` (8, images) int32, 1-based;
        ``sharedix`` (1, shared) int32; ``basiccnt`` (3, sessions) uint16; ``stimpattern``
        (sessions, 12, 75) uint8.

    Raises
    ------
    ValueError
        Three showings of every image do not fill the sessions.
    """
    random = numpy_generator(seed, "experiment")
    n_images, n_shared = design.images_per_subject, design.shared_images
    if n_images * REPETITIONS != sessions * TRIALS_PER_SESSION:
        raise ValueError(f"{n_images} images x 3 do not fill {sessions} sessions of 750 trials")
    order = random.permutation(np.repeat(np.arange(1, n_images + 1), REPETITIONS))
    ids = random.permutation(np.arange(1, design.images + 1))
    shared = np.sort(ids[:n_shared])
    private = ids[n_shared : n_shared + SUBJECTS * (n_images - n_shared)].reshape(SUBJECTS, -1)
    return {
        "masterordering": order[None].astype(np.uint16),
        "subjectim": np.hstack([np.tile(shared, (SUBJECTS, 1)), private]).astype(np.int32),
        "sharedix": shared[None].astype(np.int32),
        "basiccnt": _counts_within_sessions(order, sessions),
        "stimpattern": _slots(sessions, random),
    }


def _counts_within_sessions(order: np.ndarray, sessions: int) -> np.ndarray:
    """Images shown once, twice and three times within each session."""
    times = [np.unique(shown, return_counts=True)[1] for shown in order.reshape(sessions, -1)]
    counts = [[(n == k).sum() for n in times] for k in range(1, REPETITIONS + 1)]
    return np.array(counts, np.uint16)


def _slots(sessions: int, random: np.random.Generator) -> np.ndarray:
    """Slots of 4 s with an image: 3 blanks lead, 5 are interspersed, 4 or 5 trail."""
    pattern = np.zeros((sessions, TASK_RUNS, SLOTS), np.uint8)
    for run in pattern.reshape(-1, SLOTS)[0::2]:
        _fill(run, trials=63, random=random)
    for run in pattern.reshape(-1, SLOTS)[1::2]:
        _fill(run, trials=62, random=random)
    return pattern


def _fill(run: np.ndarray, trials: int, random: np.random.Generator) -> None:
    run[3 : 3 + trials + 5] = 1
    followed_by_trials = np.arange(1, trials)
    after = np.sort(random.choice(followed_by_trials, 5, replace=False))
    run[3 + after + np.arange(5)] = 0


def run_designs(fields: dict[str, np.ndarray], subject_number: int) -> np.ndarray:
    """Design columns [sessions, 12, 225] of a subject: a 1-based image id at onsets, else 0."""
    slots = fields["stimpattern"].astype(bool)
    order = fields["masterordering"][0].astype(np.int64)
    columns = np.zeros((*slots.shape, 3), np.int64)
    columns[slots, 0] = fields["subjectim"][subject_number - 1][order - 1]
    return columns.reshape(*slots.shape[:2], -1)
