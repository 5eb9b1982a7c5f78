"""Uncertainty of a mean: over images, and over subjects."""

from __future__ import annotations

import numpy as np

from boldvision.seeds import numpy_generator

ROUNDING = 1e-30
"""A variance of fractions that is no larger is rounding."""


def bootstrap_interval(
    values: np.ndarray, images: np.ndarray, *, samples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling images.

    All values of an image (its trials) are drawn together, since they are not independent. Values
    of two-way identification are also not independent between images, which are each other's
    competitors: `identification_interval` takes that into account; here competitors stay.

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


def identification_interval(
    won: np.ndarray, tested: np.ndarray, competitors: np.ndarray, *, level: float = 0.95
) -> tuple[float, float]:
    """Interval of mean two-way identification over images, which are tested and competitors.

    Wilson's interval of a proportion [1]_, for the number of independent images that would have
    the variance found [2]_. That is the jackknife's: an image is left out in both roles [3]_. Its
    quantile is Student's t, with one degree of freedom less than the number of images that share
    the losses (or the wins, if these are fewer), ``(sum x)² / sum x²``: near the ceiling few
    images lose, and theirs is all that is known of the spread.

    Parameters
    ----------
    won : array of bool [competitors, n]
        Outcome of every comparison, False for a prediction's own image.
    tested : array of int [n]
        The image of each prediction; all its trials are left out together.
    competitors : array of int [competitors]
        The image of each competitor: the same images.
    level : float
        Coverage.

    Returns
    -------
    low, high : float
        Within 0 and 1.

    References
    ----------
    .. [1] Wilson (1927), J. Am. Stat. Assoc. 22:209.
    .. [2] Korn and Graubard (1998), Survey Methodology 24:193.
    .. [3] Arvesen (1969), Ann. Math. Stat. 40:2076.
    """
    from scipy.stats import t

    wins = _sum_by(tested, _sum_by(competitors, won).T)
    trials, rivals = np.unique_counts(tested).counts, np.unique_counts(competitors).counts
    possible = trials * (len(competitors) - rivals)
    mean, variance = _jackknife(wins, trials, rivals)
    won_by = wins.sum(axis=1)
    sharing = min(_effective_number(won_by), _effective_number(possible - won_by))
    z = t.ppf((1 + level) / 2, max(sharing - 1, 1))
    binomial = mean * (1 - mean)
    n = binomial / max(variance, ROUNDING) if binomial and len(trials) > 2 else len(trials)
    centre = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(binomial / n + z**2 / (4 * n**2))
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def _sum_by(group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum of the rows of every group, in the order of the groups."""
    order = np.argsort(group, kind="stable")
    first = np.unique(group[order], return_index=True)[1]
    return np.add.reduceat(rows[order], first, axis=0, dtype=np.int32)


def _jackknife(wins: np.ndarray, trials: np.ndarray, rivals: np.ndarray) -> tuple[float, float]:
    """Mean over trials of the fraction won, and its jackknife variance over images.

    `wins` [images, images] counts those of the trials of an image over the competitors of another,
    `trials` and `rivals` how many an image has of each. With two images nothing is left to compare
    when one is left out, and the variance is given as 0.
    """
    n, competitors, images = trials.sum(), rivals.sum(), len(trials)
    won = wins.sum(axis=1)
    mean = float((won / (competitors - rivals)).sum() / n)
    if images < 3:
        return mean, 0.0
    left = (competitors - rivals)[:, None] - rivals
    np.fill_diagonal(left, 1)
    fraction = (won[:, None] - wins) / left
    np.fill_diagonal(fraction, 0)
    means = fraction.sum(axis=0) / (n - trials)
    return mean, float((images - 1) / images * np.square(means - means.mean()).sum())


def _effective_number(shares: np.ndarray) -> float:
    total = float(shares.sum())
    return total**2 / float(np.square(shares.astype(float)).sum()) if total else len(shares)


def standard_error(values: np.ndarray) -> float:
    """Standard error over subjects as in the paper's ±: std with ddof 0, over sqrt(n).

    Parameters
    ----------
    values : array [subjects]
        The pooled score of each subject.
    """
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=0) / np.sqrt(len(values)))
