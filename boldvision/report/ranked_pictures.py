"""Pictures of images chosen by their rank: what figures 3, 7 and 8 are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from boldvision.report import results
from boldvision.report.panels import full_metric_name
from boldvision.report.pictures import Blocks, picture_grid, read_images, reconstructions_of
from boldvision.report.ranking import ranking
from boldvision.report.results import Result
from boldvision.report.tables import by_row


@dataclass(frozen=True)
class RankedPictures:
    """Stimuli and reconstructions of images that the first decoder ranks for all.

    Attributes
    ----------
    rows : sequence of mapping
        The evaluations of the runs table, with ``reconstructions`` and ``stimuli``.
    metric : str
        What images are ranked by: the first decoder's mean over the subjects.
    count : int
        How many images.
    blur : bool
        Whether faces in reconstructions are blurred.
    note : str
        What to know about the data; shown above the pictures.
    """

    rows: Sequence[Mapping[str, Any]]
    metric: str
    count: int
    blur: bool
    note: str

    @cached_property
    def decoders(self) -> dict[str, list[Result]]:
        """Decoder: its evaluations, one per subject.

        Raises
        ------
        UserError
            A row has two models of a subject.
        """
        return by_row(results.read(self.rows))

    @property
    def first(self) -> str:
        """The decoder that ranks the images."""
        return next(iter(self.decoders))

    @cached_property
    def ranked(self) -> pd.Series:
        """The images of its ranking, the best first, with their value."""
        return ranking(self.decoders[self.first], self.metric)

    @property
    def ranked_by(self) -> str:
        """The metric as a reader knows it."""
        return full_metric_name(self.metric, self.decoders[self.first][0].metrics[self.metric])

    def stimuli(self, row: Mapping[str, Any], image_ids: Sequence[int]) -> np.ndarray:
        """Images uint8 [n, H, W, 3] as the subject of a row saw them."""
        return read_images(Path(row["stimuli"]), "image_id", image_ids)

    def reconstructions(self, row: Mapping[str, Any], image_ids: Sequence[int]) -> np.ndarray:
        """What the model of a row made of them, uint8 [n, H, W, 3]."""
        return reconstructions_of(row, image_ids, self.blur)

    def grid(self, blocks: Blocks, labels: Sequence[str], rule: str) -> Figure:
        """The figure: `picture_grid`, below the rule that chose the images."""
        return picture_grid(blocks, labels, f"{rule}\n{self.note}")
