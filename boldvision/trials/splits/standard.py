"""NSD's own split: the images that every subject sees are the test set (paper, section 2.3)."""

from __future__ import annotations

import numpy as np
import pandas as pd


def split(trials: pd.DataFrame) -> np.ndarray:
    """Part of every trial, by column `shared`: [trials] of ``train`` or ``test``."""
    return np.where(trials["shared"], "test", "train")
