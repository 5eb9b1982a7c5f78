"""The paper's numbers: every value of its tables 1 to 8, and what is odd about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

SOURCE = (
    "Dynadiff: Single-stage Decoding of Images from Continuously Evolving fMRI, arXiv:2505.14556"
)
"""Where ``published_tables.csv`` was transcribed from."""

FILE = Path(__file__).with_name("published_tables.csv")

METRICS = {
    "ssim": ("SSIM", False),
    "pixcorr": ("PixCorr", False),
    "alexnet_2": ("AlexNet(2)", True),
    "alexnet_5": ("AlexNet(5)", True),
    "clip": ("CLIP-12", True),
    "inception": ("Incep", True),
    "efficientnet": ("Eff", False),
    "swav": ("SwAV", False),
    "miou": ("mIoU", True),
    "dreamsim": ("DreamSim", True),
}
"""Metric: its name in the paper, and whether the paper's tables show it times 100; in its order."""


@dataclass(frozen=True)
class Oddity:
    """Published numbers that do not fit the rest; shown as published, and flagged."""

    table: int
    row: str | None
    metrics: tuple[str, ...]
    subject: str | None
    text: str

    def concerns(self, table: int, subject: str, row: str, metric: str) -> bool:
        """Whether this is about that number."""
        return (
            table == self.table
            and self.row in (None, row)
            and self.subject in (None, subject)
            and metric in self.metrics
        )


ODDITIES = (
    Oddity(
        2,
        "timestep layers, aggregation OUT (Dynadiff)",
        ("alexnet_2", "clip"),
        None,
        "94.67 and 97.45 disagree with 95.82 and 93.53 of the same model in table 1",
    ),
    Oddity(
        3,
        "LoRA on cross-attention (25M)",
        ("alexnet_2", "clip"),
        None,
        "94.67 and 97.45 disagree with 95.82 and 93.53 of the same model in table 1",
    ),
    Oddity(
        6,
        "WAVE",
        tuple(METRICS),
        "mean",
        "the standard errors of this row alone use ddof = 1 (table 1 has ddof = 0)",
    ),
    *(
        Oddity(
            table,
            "MindEye1",
            ("alexnet_2",),
            "mean",
            "± 2.21 is the standard deviation over subjects; the standard error would be 1.11",
        )
        for table in (1, 6)
    ),
    Oddity(
        8,
        "Dynadiff multi-subject",
        ("miou", "dreamsim"),
        "subj05",
        "one of mIoU and DreamSim is missing in the paper; the number left is read as DreamSim",
    ),
)


@cache
def tables() -> pd.DataFrame:
    """Columns ``table``, ``subject``, ``row``, ``metric``, ``value``, ``sem``, in paper's units.

    ``metric`` is our name of the metric (a key of `METRICS`); ``sem`` is NaN where none was given.
    """
    frame = pd.read_csv(FILE)
    ours = {name: metric for metric, (name, _) in METRICS.items()}
    return frame.assign(metric=frame["metric"].map(ours))


def lookup(table: int, subject: str, row: str, metric: str) -> tuple[float, float] | None:
    """One published number and its standard error over subjects, in the paper's units.

    Parameters
    ----------
    table : int
        Number of the table in the paper.
    subject : str
        ``subj01`` … or ``mean``.
    row : str
        Method or variant, as in ``published_tables.csv``.
    metric : str
        A key of `METRICS`.

    Returns
    -------
    (value, sem) or None
        None where the paper has no such number; `sem` is NaN where it gives none.
    """
    frame = tables()
    found = frame[
        (frame["table"] == table)
        & (frame["subject"] == subject)
        & (frame["row"] == row)
        & (frame["metric"] == metric)
    ]
    if found.empty:
        return None
    return float(found["value"].iloc[0]), float(found["sem"].iloc[0])


def flags(table: int, subject: str, row: str, metric: str) -> list[str]:
    """What is odd about a published number."""
    return [o.text for o in ODDITIES if o.concerns(table, subject, row, metric)]


def scale(metric: str) -> float:
    """Factor from our unit (a fraction) to the paper's."""
    return 100.0 if METRICS[metric][1] else 1.0
