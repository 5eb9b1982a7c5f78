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
    """Published numbers that do not fit the rest; shown as published, and flagged.

    It is about `metrics` of a row, for one subject or (None) for all; without metrics, about the
    name of the row.
    """

    table: int
    row: str
    metrics: tuple[str, ...]
    subject: str | None
    text: str

    def concerns(self, table: int, subject: str, row: str, metric: str) -> bool:
        """Whether this is about that number."""
        return (
            table == self.table
            and row == self.row
            and self.subject in (None, subject)
            and metric in self.metrics
        )

    @property
    def where(self) -> str:
        """Row, subject and metrics that this is about."""
        place = ", ".join(filter(None, [self.row, self.subject]))
        names = ", ".join(METRICS[metric][0] for metric in self.metrics)
        some = 0 < len(self.metrics) < len(METRICS)
        return f"{place} ({names})" if some else place


_OTHER_THAN_TABLE_1 = (
    "94.67 and 97.45 disagree with 95.82 and 93.53 of the same model in table 1; standard errors "
    "differ too"
)

_MIOU_ERROR = "± 0.97 is that of DreamSim in table 1, where mIoU of the same model has ± 0.41"

ODDITIES = (
    Oddity(
        1,
        "Dynadiff",
        ("clip",),
        "mean",
        "the text says 3.25 points more than MindEye2; the table has 3.15",
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
        2,
        "timestep layers, aggregation OUT (Dynadiff)",
        ("alexnet_2", "clip"),
        None,
        _OTHER_THAN_TABLE_1,
    ),
    Oddity(
        2,
        "timestep layers, aggregation OUT (Dynadiff)",
        ("miou",),
        None,
        _MIOU_ERROR,
    ),
    Oddity(
        2,
        "without timestep layers, aggregation OUT",
        ("alexnet_2", "clip"),
        None,
        "the text says 1.33 and 2.95 points less than Dynadiff; the table has 0.20 more and 7.01 "
        "less",
    ),
    Oddity(
        3,
        "LoRA on cross-attention (25M)",
        ("alexnet_2", "clip"),
        None,
        _OTHER_THAN_TABLE_1,
    ),
    Oddity(
        3,
        "LoRA on cross-attention (25M)",
        ("miou",),
        None,
        _MIOU_ERROR,
    ),
    Oddity(
        3,
        "LoRA on cross-attention (25M)",
        (),
        None,
        "adapters of rank 4 on cross-attention have 0.40 M parameters in the plain image U-Net; "
        "the other counts are near those of the dual-guided U-Net",
    ),
    Oddity(
        4,
        "UMBRAE",
        ("ssim", "pixcorr", "alexnet_2", "alexnet_5", "clip", "inception", "efficientnet"),
        None,
        "these numbers equal those of DREAM, to the last digit",
    ),
    Oddity(
        5,
        "Dynadiff w/ NSD prep.",
        tuple(metric for metric in METRICS if metric not in ("pixcorr", "swav")),
        None,
        "disagrees with the same model in table 1; the paper does not say which subjects table 5 "
        "averages",
    ),
    *(
        Oddity(
            table,
            row,
            tuple(METRICS),
            "mean",
            "the standard errors of this row use ddof = 1 (those of table 1 use ddof = 0)",
        )
        for table, row in ((6, "WAVE"), (7, "WAVE"), (8, "Dynadiff multi-subject"))
    ),
    Oddity(
        8,
        "Dynadiff multi-subject",
        ("miou", "dreamsim"),
        "subj05",
        "one of mIoU and DreamSim is missing in the paper; the number left is read as DreamSim, "
        "whose mean it fits, and the mean of mIoU implies 8.99",
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


def rows(table: int) -> list[str]:
    """Rows of a table, in the paper's order."""
    return list(_table(table)["row"].unique())


def subjects(table: int) -> list[str]:
    """Subjects of a table, ``mean`` too, in the paper's order."""
    return list(_table(table)["subject"].unique())


def metrics(table: int) -> list[str]:
    """Metrics of a table, in the order of `METRICS`."""
    given = set(_table(table)["metric"])
    return [metric for metric in METRICS if metric in given]


def _table(number: int) -> pd.DataFrame:
    frame = tables()
    return frame[frame["table"] == number]


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
    return _numbers().get((table, subject, row, metric))


@cache
def _numbers() -> dict[tuple[int, str, str, str], tuple[float, float]]:
    return {
        (r.table, r.subject, r.row, r.metric): (r.value, r.sem)
        for r in tables().itertuples(index=False)
    }


def flags(table: int, subject: str, row: str, metric: str) -> list[str]:
    """What is odd about a published number."""
    return [o.text for o in ODDITIES if o.concerns(table, subject, row, metric)]


def scale(metric: str) -> float:
    """Factor from our unit (a fraction) to the paper's."""
    return 100.0 if METRICS[metric][1] else 1.0
