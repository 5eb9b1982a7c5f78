"""Two-way identification: is the right image more similar than a wrong one?"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Direction = Literal["prediction", "stimulus"]

TIE = 1e-12
"""Correlations closer than this are equal: float64 rounding of the same number."""

TIES = {
    "prediction": "lost; stimuli that are alike would tie",
    "stimulus": "lost; reconstructions that are alike tie with each other and score 0, not chance",
}
"""What becomes of equal correlations, in each direction."""


def correlations(
    *, stimuli: np.ndarray, predictions: np.ndarray, columns: int = 8192
) -> np.ndarray:
    """Pearson correlation of every stimulus with every prediction.

    Parameters
    ----------
    stimuli : array [m, features]
        Features of the stimuli.
    predictions : array [n, features]
        Features of the reconstructions.
    columns : int
        Features standardized at a time, in float64; bounds the memory, not the result.

    Returns
    -------
    array [m, n], float64
        NaN where a row is constant or not finite.
    """
    stimuli_mean, stimuli_constant = _mean_and_constant(stimuli)
    predictions_mean, predictions_constant = _mean_and_constant(predictions)
    product = np.zeros((len(stimuli), len(predictions)))
    stimuli_power = np.zeros(len(stimuli))
    predictions_power = np.zeros(len(predictions))
    for first in range(0, stimuli.shape[1], columns):
        some = slice(first, first + columns)
        s = stimuli[:, some] - stimuli_mean[:, None]
        p = predictions[:, some] - predictions_mean[:, None]
        product += s @ p.T
        stimuli_power += np.einsum("ij,ij->i", s, s)
        predictions_power += np.einsum("ij,ij->i", p, p)
    stimuli_power[stimuli_constant] = np.nan
    predictions_power[predictions_constant] = np.nan
    return product / np.sqrt(np.outer(stimuli_power, predictions_power))


def _mean_and_constant(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=1, dtype=np.float64), rows.max(axis=1) == rows.min(axis=1)


class Comparisons(NamedTuple):
    """What every prediction was compared with, and the outcome.

    Attributes
    ----------
    won : array of bool [competitors, n]
        False where the competitor is of the prediction's own image.
    image : array of int [competitors]
        Row of the stimulus that each competitor is, or is of.
    number : array of int [n]
        Competitors of other images.
    tied : int
        Comparisons of equal correlations; they count as lost.
    """

    won: np.ndarray
    image: np.ndarray
    number: np.ndarray
    tied: int

    @property
    def scores(self) -> np.ndarray:
        """Fraction of the comparisons won, [n]."""
        return self.won.sum(axis=0) / self.number


def compare_all(
    *, correlations: np.ndarray, direction: Direction, pairs: np.ndarray
) -> Comparisons:
    """Every comparison of two-way identification: see `two_way`, which averages them.

    Raises
    ------
    ValueError
        There is only one image.
    """
    m, n = correlations.shape
    if m < 2 or (direction == "stimulus" and len(np.unique(pairs)) < 2):
        raise ValueError("two-way identification compares images: expected at least 2, found 1")
    true = correlations[pairs, np.arange(n)]
    if direction == "prediction":
        r, image = correlations, np.arange(m)
    else:
        r, image = correlations[pairs].T, pairs
    other = image[:, None] != pairs
    tied = int(((np.abs(r - true) <= TIE) & other).sum())
    return Comparisons((r < true - TIE) & other, image, other.sum(axis=0), tied)


def two_way(
    *, correlations: np.ndarray, direction: Direction, pairs: np.ndarray | None = None
) -> np.ndarray:
    """Two-way identification of every prediction, from correlations.

    ``prediction`` compares each prediction j with all stimuli:
    ``#{i: R[i, j] < R[pairs[j], j]} / (m - 1)``. ``stimulus`` compares the stimulus of j with all
    predictions of other images: ``#{k: R[pairs[j], k] < R[pairs[j], j]}`` over their number. The
    paper's text means the first; the public fork's call swaps its arguments and computes the
    second. Ties and undefined correlations are failures, as in that code: in the direction
    ``stimulus`` identical predictions tie with each other and score 0, not chance.

    Parameters
    ----------
    correlations : array [m, n]
        R, of m stimuli with n predictions.
    direction : {"prediction", "stimulus"}
        Which of the two is held while the other varies.
    pairs : array of int [n], optional
        Row of the stimulus that each prediction is of; by default prediction j is of stimulus j.

    Returns
    -------
    array [n], float64
        Fraction of the comparisons won, 0 to 1; chance is 0.5 unless there are ties.

    Raises
    ------
    ValueError
        There is only one image, or the shapes do not fit.
    """
    m, n = correlations.shape
    if pairs is None:
        if m != n:
            raise ValueError(f"{m} stimuli and {n} predictions: expected `pairs`, or as many")
        pairs = np.arange(n)
    return compare_all(correlations=correlations, direction=direction, pairs=pairs).scores


def two_way_identification(
    *,
    stimuli: np.ndarray,
    predictions: np.ndarray,
    direction: Direction,
    pairs: np.ndarray | None = None,
) -> np.ndarray:
    """Two-way identification of every prediction, from features: see `two_way`.

    Parameters
    ----------
    stimuli : array [m, features]
    predictions : array [n, features]
    direction : {"prediction", "stimulus"}
    pairs : array of int [n], optional

    Returns
    -------
    array [n], float64
        Fraction of the comparisons won.
    """
    r = correlations(stimuli=stimuli, predictions=predictions)
    return two_way(correlations=r, direction=direction, pairs=pairs)


def correlation_distance(*, stimuli: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """1 minus the Pearson correlation of each pair of feature vectors.

    Parameters
    ----------
    stimuli, predictions : array [n, features]

    Returns
    -------
    array [n], float64
        0 to 2, lower is better; NaN where a vector is constant.
    """
    distances = np.empty(len(stimuli))
    for j, (s, p) in enumerate(zip(stimuli, predictions, strict=True)):
        if s.max() == s.min() or p.max() == p.min():
            distances[j] = np.nan
            continue
        s, p = s - s.mean(dtype=np.float64), p - p.mean(dtype=np.float64)
        distances[j] = 1 - (s @ p) / np.sqrt((s @ s) * (p @ p))
    return distances
