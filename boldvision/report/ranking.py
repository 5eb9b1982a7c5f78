"""Images ranked by how well they are reconstructed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boldvision.errors import UserError
from boldvision.report import published
from boldvision.report.results import Result


def ranking(evaluations: list[Result], metric: str) -> pd.Series:
    """Images that all evaluations have, the best first.

    Parameters
    ----------
    evaluations : list of Result
        One per subject, each in its training window.
    metric : str
        Whose per-image value is averaged over `evaluations`.

    Returns
    -------
    Series
        That mean, in the paper's units, by ``image_id``; of equal images the lower id is first.
    """
    per_image = [e.images(metric).groupby("image_id")["value"].mean() for e in evaluations]
    mean = pd.concat(per_image, axis=1, join="inner").mean(axis=1)
    higher = evaluations[0].metrics[metric].better == "higher"
    ranked = mean.sort_values(ascending=not higher, kind="stable")
    return published.scale(metric) * ranked


def evenly_spaced(ranked: pd.Series, count: int) -> list[int]:
    """0-based ranks that divide the ranking into ``count + 1`` equal parts.

    Raises
    ------
    UserError
        There are fewer images than `count`.
    """
    check_enough(ranked, count)
    return np.linspace(-1, len(ranked), count + 2)[1:-1].round().astype(int).tolist()


def check_enough(ranked: pd.Series, count: int) -> None:
    """Raise UserError if fewer images than `count` are ranked."""
    if len(ranked) < count:
        raise UserError(
            f"{count} images wanted, {len(ranked)} were reconstructed for every subject; lower "
            "`images` in `figures` of the configuration"
        )
