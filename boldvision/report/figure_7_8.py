"""Figures 7 and 8: the best and the worst reconstructions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from boldvision.report.panels import metric_name
from boldvision.report.pictures import STIMULI, subject_name
from boldvision.report.ranked_pictures import RankedPictures
from boldvision.report.ranking import check_enough

BEST, WORST = "best", "worst"


def extremes(ranked: pd.Series, end: str, count: int) -> pd.Series:
    """The `count` `BEST` or `WORST` images of a ranking, the most extreme first.

    Raises
    ------
    UserError
        There are fewer images.
    """
    check_enough(ranked, count)
    return ranked.iloc[:count] if end == BEST else ranked.iloc[: -count - 1 : -1]


def figure_7_8(shown: RankedPictures, end: str) -> Figure:
    """Extreme reconstructions, a column per subject (paper, Figures 7 and 8).

    Of several decoders each has a block. The images are the `BEST` or the `WORST`, as `end` says.

    Raises
    ------
    UserError
        There are fewer images, a file lacks one, or a row has two models of a subject.
    """
    several = len(shown.decoders) > 1
    chosen = extremes(shown.ranked, end, shown.count)
    image_ids = chosen.index.tolist()
    stimuli = shown.stimuli(shown.rows[0], image_ids)
    blocks: dict[str, dict[str, np.ndarray]] = {}
    for row in shown.rows:
        block = blocks.setdefault(row["row"] if several else "", {STIMULI: stimuli})
        block[subject_name(row["subject"])] = shown.reconstructions(row, image_ids)
    labels = [f"{metric_name(shown.metric)}\n{value:.3f}" for value in chosen]
    by = f"{shown.first}'s {shown.ranked_by}" if several else shown.ranked_by
    rule = f"The {end} of the images that all subjects saw, by the mean over subjects of {by}"
    return shown.grid(blocks, labels, rule)
