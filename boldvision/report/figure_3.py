"""Figure 3: decoders side by side on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from boldvision.report import results
from boldvision.report.panels import full_metric_name
from boldvision.report.pictures import (
    STIMULI,
    picture_grid,
    read_images,
    reconstructions_of,
    subject_name,
)
from boldvision.report.ranking import evenly_spaced, ranking
from boldvision.report.tables import by_row


def figure_3(
    rows: Sequence[Mapping[str, Any]], metric: str, count: int, blur: bool, note: str
) -> Figure:
    """A block per subject, with a column per decoder (paper, Figure 3).

    The images are at evenly spaced ranks of the first decoder's `metric`, mean over the subjects.

    Parameters
    ----------
    rows : sequence of mapping
        The evaluations of the runs table, with ``reconstructions`` and ``stimuli``.
    metric : str
        What the images are ranked by.
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
    first, ranked_by = next(iter(by_row(results.read(rows)).items()))
    ranked = ranking(ranked_by, metric)
    ranks = evenly_spaced(ranked, count)
    image_ids = [int(ranked.index[rank]) for rank in ranks]
    blocks: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        stimuli = {STIMULI: read_images(Path(row["stimuli"]), "image_id", image_ids)}
        block = blocks.setdefault(subject_name(row["subject"]), stimuli)
        block[row["row"]] = reconstructions_of(row, image_ids, blur)
    name = full_metric_name(metric, ranked_by[0].metrics[metric])
    rule = f"Images at evenly spaced ranks (1: best) of {first}'s {name}, mean over the subjects"
    labels = [f"rank {rank + 1}\nof {len(ranked)}" for rank in ranks]
    return picture_grid(blocks, labels, f"{rule}\n{note}")
