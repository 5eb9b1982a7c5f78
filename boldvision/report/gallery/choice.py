"""What the gallery shows: decoders, images, and of every image one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from boldvision.config import split_window_name
from boldvision.hdf5 import open_pictures
from boldvision.report import results
from boldvision.report.curves import curves
from boldvision.report.results import Result

RULE = (
    "An image with several trials is shown by its first trial among those that have the most "
    "windows."
)
"""Which trial of an image is shown."""


@dataclass(frozen=True)
class ShownDecoder:
    """A row of the runs table for one subject.

    Attributes
    ----------
    name : str
    models : dict
        Test window, in order of time, to the model and its file of reconstructions.
    """

    name: str
    models: dict[str, tuple[Result, Path]]

    @cached_property
    def listing(self) -> pd.DataFrame:
        """One row per reconstruction: ``window`` (its place), ``trial``, ``image_id``, ``place``.

        ``place`` is the row of the window's file.
        """
        parts = []
        for window, (_, path) in enumerate(self.models.values()):
            with open_pictures(path) as file:
                trial, image_id = file["trial"][:], file["image_id"][:]
            columns = {"trial": trial, "image_id": image_id, "place": np.arange(len(trial))}
            parts.append(pd.DataFrame({"window": window, **columns}))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def native_px(self) -> int:
        """Side of a reconstruction, pixels."""
        _, path = next(iter(self.models.values()))
        with open_pictures(path) as file:
            return file["images"].shape[1]


def decoders(rows: Sequence[Mapping[str, Any]], subject: str) -> list[ShownDecoder]:
    """The decoders of a subject, in the order of the runs table.

    Which model a row shows in a window is that of `boldvision.report.curves.curves`.

    Parameters
    ----------
    rows : sequence of mapping
        As `results.read` takes them, and ``reconstructions``, the folder of ``{window}.h5``.
    subject : str
    """
    pairs = [
        (evaluation, Path(row["reconstructions"]))
        for evaluation, row in zip(results.read(rows), rows, strict=True)
        if evaluation.subject == subject
    ]
    folders = {id(evaluation): folder for evaluation, folder in pairs}
    return [
        ShownDecoder(
            name,
            {
                window: (found[window], folders[id(found[window])] / f"{window}.h5")
                for window in sorted(found, key=lambda window: split_window_name(window)[1])
            },
        )
        for name, found in curves([evaluation for evaluation, _ in pairs]).items()
    ]


def choose(shown: Sequence[ShownDecoder], count: int | None) -> list[pd.DataFrame]:
    """Images of a subject and the trial of each: per decoder ``image_id``, ``trial``, by id.

    Images that more decoders have come first, then those of smaller id. The trial follows `RULE`,
    over the windows of all decoders, so decoders with the same trials show the same one.

    Parameters
    ----------
    shown : sequence of ShownDecoder
        Of one subject.
    count : int or None
        Images of the subject at most.
    """
    listing = pd.concat([d.listing.assign(decoder=i) for i, d in enumerate(shown)])
    owners = listing.groupby("image_id")["decoder"].nunique()
    images = owners.sort_values(ascending=False, kind="stable").index[:count]
    windows = listing.groupby(["image_id", "trial"]).size().rename("windows")
    trials = listing[["decoder", "image_id", "trial"]].drop_duplicates()
    trials = trials[trials["image_id"].isin(images)].join(windows, on=["image_id", "trial"])
    trials = trials.sort_values(["windows", "trial"], ascending=[False, True])
    first = trials.drop_duplicates(["decoder", "image_id"]).sort_values("image_id")
    return [
        first.loc[first["decoder"] == i, ["image_id", "trial"]].reset_index(drop=True)
        for i in range(len(shown))
    ]


def places(decoder: ShownDecoder, chosen: pd.DataFrame) -> np.ndarray:
    """Row of the window's file, int [images, windows]; -1 where the window leaves its run.

    Parameters
    ----------
    decoder : ShownDecoder
    chosen : DataFrame
        From `choose`.
    """
    order = chosen.reset_index().rename(columns={"index": "image"})
    found = order.merge(decoder.listing, on=["image_id", "trial"])
    places = np.full((len(chosen), len(decoder.models)), -1)
    places[found["image"], found["window"]] = found["place"]
    return places


def neighbours(trials: pd.DataFrame) -> pd.DataFrame:
    """By trial: ``session``, ``run``, and what was shown before and after in the same run.

    Parameters
    ----------
    trials : DataFrame
        Trial table of a subject.

    Returns
    -------
    DataFrame
        Also ``previous``, ``next`` (image_id) and ``previous_s``, ``next_s``, the seconds between
        the onsets; -1 where the run begins or ends.
    """
    columns = ["trial", "session", "task_run", "onset_s", "image_id"]
    table = trials[columns].sort_values("trial").rename(columns={"task_run": "run"})
    found = table[["trial", "session", "run"]].copy()
    for name, by in (("previous", 1), ("next", -1)):
        other = table.shift(by, fill_value=-1)
        same = (table["session"] == other["session"]) & (table["run"] == other["run"])
        seconds = by * (table["onset_s"] - other["onset_s"])
        found[name] = other["image_id"].where(same, -1)
        found[f"{name}_s"] = seconds.round().astype(int).where(same, -1)
    return found.set_index("trial")
