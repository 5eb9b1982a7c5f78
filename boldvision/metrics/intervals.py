"""Uncertainty of a mean: over images, and over subjects."""

from __future__ import annotations

import numpy as np

from boldvision.seeds import numpy_generator


def bootstrap_interval(
    values: np.ndarray, images: np.ndarray, *, samples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling images.

    All values of an image (its trials) are drawn together, since they are not independent. For
    two-way identification the per-image scores are resampled and the images they were compared
    with stay.

    Parameters
    ----------
    values : array [n]
        One value per trial.
    images : array [n]
        The image of each.
    samples : int
        Bootstrap samples.
    seed : int
    level : float
        Coverage.

    Returns
    -------
    low, high : float
    """
    _, image = np.unique(images, return_inverse=True)
    sums, counts = np.bincount(image, weights=values), np.bincount(image)
    draws = numpy_generator(seed, "bootstrap").integers(len(sums), size=(samples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def standard_error(values: np.ndarray) -> float:
    """Standard error over subjects as in the paper's ±: std with ddof 0, over sqrt(n).

    Parameters
    ----------
    values : array [subjects]
        The pooled score of each subject.
    """
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=0) / np.sqrt(len(values)))
