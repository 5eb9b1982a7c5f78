"""Figures 7 and 8: the best and the worst reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from boldvision.report import results
from boldvision.report.panels import full_metric_name, metric_name
from boldvision.report.pictures import (
    STIMULI,
    picture_grid,
    read_images,
    reconstructions_of,
    subject_name,
)
from boldvision.report.ranking import check_enough, ranking
from boldvision.report.tables import by_row

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


def figure_7_8(
    rows: Sequence[Mapping[str, Any]], end: str, metric: str, count: int, blur: bool, note: str
) -> Figure:
    """Extreme reconstructions, a column per subject (paper, Figures 7 and 8).

    Of several decoders each has a block, and the first ranks the images for all.

    Parameters
    ----------
    rows : sequence of mapping
        One evaluation per decoder and subject, with ``reconstructions`` and ``stimuli``.
    end : str
        `BEST` or `WORST`.
    metric : str
        What images are ranked by: the first decoder's mean over the subjects.
    count : int
        How many images.
    blur : bool
        Whether faces in reconstructions are blurred.
    note : str
        What to know about the data; shown above the pictures.

    Raises
    ------
    UserError
        There are fewer images, a file lacks one, or a row has two models of a subject.
    """
    decoders = by_row(results.read(rows))
    first, evaluations = next(iter(decoders.items()))
    several = len(decoders) > 1
    chosen = extremes(ranking(evaluations, metric), end, count)
    image_ids = chosen.index.tolist()
    stimuli = read_images(Path(rows[0]["stimuli"]), "image_id", image_ids)
    blocks: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        block = blocks.setdefault(row["row"] if several else "", {STIMULI: stimuli})
        block[subject_name(row["subject"])] = reconstructions_of(row, image_ids, blur)
    labels = [f"{metric_name(metric)}\n{value:.3f}" for value in chosen]
    name = full_metric_name(metric, evaluations[0].metrics[metric])
    name = f"{first}'s {name}" if several else name
    rule = f"The {end} of the images that all subjects saw, by the mean over subjects of {name}"
    return picture_grid(blocks, labels, f"{rule}\n{note}")
