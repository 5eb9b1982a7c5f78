"""Figure 3: decoders side by side on the same images."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from boldvision.report.pictures import STIMULI, subject_name
from boldvision.report.ranked_pictures import RankedPictures
from boldvision.report.ranking import evenly_spaced


def figure_3(shown: RankedPictures) -> Figure:
    """A block per subject, with a column per decoder (paper, Figure 3).

    The images are at evenly spaced ranks.

    Raises
    ------
    UserError
        There are fewer images, a file lacks one, or a row has two models of a subject.
    """
    ranked = shown.ranked
    ranks = evenly_spaced(ranked, shown.count)
    image_ids = [int(ranked.index[rank]) for rank in ranks]
    blocks: dict[str, dict[str, np.ndarray]] = {}
    for row in shown.rows:
        stimuli = {STIMULI: shown.stimuli(row, image_ids)}
        block = blocks.setdefault(subject_name(row["subject"]), stimuli)
        block[row["row"]] = shown.reconstructions(row, image_ids)
    labels = [f"rank {rank + 1}\nof {len(ranked)}" for rank in ranks]
    by = f"{shown.first}'s {shown.ranked_by}, mean over the subjects"
    return shown.grid(blocks, labels, f"Images at evenly spaced ranks (1: best) of {by}")
