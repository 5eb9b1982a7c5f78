"""Agreement of two segmentations."""

from __future__ import annotations

import numpy as np


def mean_iou(*, stimuli: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Intersection over union, averaged over the classes present in the stimulus.

    The labels of the stimulus are a network's, not an annotator's (pseudo-labels), as in the
    paper's evaluation.

    Parameters
    ----------
    stimuli, reconstructions : array of int [n, ...]
        Class of every pixel.

    Returns
    -------
    array [n], float64
        0 to 1, higher is better.
    """
    scores = np.empty(len(stimuli))
    for j, (true, predicted) in enumerate(zip(stimuli, reconstructions, strict=True)):
        true = np.asarray(true, dtype=np.int64).ravel()
        predicted = np.asarray(predicted, dtype=np.int64).ravel()
        classes = 1 + int(max(true.max(), predicted.max()))
        true_area = np.bincount(true, minlength=classes)
        predicted_area = np.bincount(predicted, minlength=classes)
        overlap = np.bincount(true[true == predicted], minlength=classes)
        present = true_area > 0
        scores[j] = np.mean((overlap / (true_area + predicted_area - overlap + ~present))[present])
    return scores
