"""The gallery's page: the data that it shows, as one HTML file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from boldvision import faces
from boldvision.config import split_window_name
from boldvision.files import replace_folder
from boldvision.report import published, results
from boldvision.report.gallery.choice import (
    RULE,
    ShownDecoder,
    choose,
    decoders,
    neighbours,
    places,
)
from boldvision.report.gallery.pictures import write_sprites, write_stimuli
from boldvision.report.results import Metric
from boldvision.report.times import Timing, times
from boldvision.trials.table import read_trials

TEMPLATE = Path(__file__).with_name("page.html")

SPLITS = {
    "standard": "standard split",
    "time_resolved": "time-resolved split",
    "time_resolved_leakage_free": "leakage-free split",
    "time_resolved_size_matched": "size-matched split",
}
"""Split of the configuration: what stands beside a reconstruction."""

VALUE_UNIT = 1e-4
"""Values of single images are written as whole multiples of this."""

BLURRED = "Faces in reconstructions are blurred; scores are of pictures that are not."


@dataclass(frozen=True)
class GalleryPage:
    """The gallery: ``index.html``, ``pictures/`` and ``stimuli/`` of a folder.

    A file of ``pictures/`` holds the reconstructions of an image from all windows, side by side.

    Attributes
    ----------
    rows : sequence of mapping
        As `decoders` takes them; also ``split``, and of the subject ``stimuli`` (``images`` and
        ``image_id``) and ``trials`` (trial table).
    metrics : sequence of str
        Curves to choose from.
    image_px : int
        Side of a picture, pixels; smaller ones keep their size.
    images : int or None
        Images per subject; None is all.
    windows : mapping
        ``windows`` of the configuration.
    timing : Timing
    dataset : str
    simulated : bool
    blur : bool
        Whether faces in reconstructions are blurred.
    """

    rows: Sequence[Mapping[str, Any]]
    metrics: Sequence[str]
    image_px: int
    images: int | None
    windows: Mapping[str, Mapping[str, Any]]
    timing: Timing
    dataset: str
    simulated: bool
    blur: bool

    def write(self, out: str | Path) -> None:
        """Write the folder.

        Raises
        ------
        UserError
            A file is missing or lacks a metric, or the pictures are too large.
        """
        evaluations = results.read(self.rows)
        partial = Path(out).with_name(f".{Path(out).name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        subjects: dict[str, dict[str, Any]] = {}
        native_px: list[int] = []
        for subject in dict.fromkeys(e.subject for e in evaluations):
            shown = decoders(self.rows, subject)
            native_px += [decoder.native_px for decoder in shown]
            files = next(row for row in self.rows if row["subject"] == subject)
            about = neighbours(read_trials(files["trials"]))
            subjects[subject] = self._write_pictures(subject, shown, about, partial)
            ids = _ids(subjects[subject].values())
            stimulus_px = write_stimuli(files["stimuli"], ids, self.image_px, partial / "stimuli")
        blurred = self.blur and max(native_px) >= faces.SMALLEST_PICTURE_PX
        page = {
            "note": results.data_note(evaluations, self.dataset, self.simulated),
            "simulated": self.simulated,
            "remarks": [RULE, *([BLURRED] if blurred else [])],
            "stimulus_s": self.timing.stimulus_s,
            "stimulus_px": stimulus_px,
            "value_unit": VALUE_UNIT,
            "metrics": {name: _about(name, evaluations[0].metrics[name]) for name in self.metrics},
            "subjects": subjects,
        }
        (partial / "index.html").write_text(to_html(page), encoding="utf-8")
        replace_folder(partial, out)

    def _write_pictures(
        self, subject: str, shown: Sequence[ShownDecoder], about: pd.DataFrame, folder: Path
    ) -> dict[str, dict[str, Any]]:
        """Write a subject's reconstructions; what the page says of each decoder."""
        splits = {
            row["row"]: SPLITS.get(row["split"], f"split {row['split']}") for row in self.rows
        }
        folders = _folders(shown)
        described = {}
        for decoder, chosen in zip(shown, choose(shown, self.images), strict=True):
            own = f"pictures/{subject}/{folders[decoder.name]}"
            px = write_sprites(decoder, chosen, self.image_px, self.blur, folder / own)
            described[decoder.name] = {
                "folder": own,
                "split": splits[decoder.name],
                "px": px,
                **describe(decoder, chosen, about, self.metrics, self.windows),
            }
        return described


def _about(name: str, metric: Metric) -> dict[str, Any]:
    """What the page says of a metric."""
    full_name, percent = published.METRICS[name]
    return {
        "name": full_name,
        "percent": percent,
        "better": metric.better,
        "label": metric.label,
    }


def to_html(page: Mapping[str, Any]) -> str:
    """The page with its data; no text in them can end the element that holds them."""
    data = json.dumps(page, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("{{ data }}", data)


def describe(
    decoder: ShownDecoder,
    chosen: pd.DataFrame,
    about: pd.DataFrame,
    metrics: Sequence[str],
    windows: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What the page says of a decoder: its windows, its curves (fractions) and its images.

    Parameters
    ----------
    decoder : ShownDecoder
    chosen : DataFrame
        From `choose`.
    about : DataFrame
        From `neighbours`.
    metrics : sequence of str
    windows : mapping
        ``windows`` of the configuration.
    """
    scores = {
        metric: [model.score(metric, window) for window, (model, _) in decoder.models.items()]
        for metric in metrics
    }
    context = about.reindex(chosen["trial"], fill_value=-1).reset_index()
    columns = {"id": chosen["image_id"], **context}
    return {
        "windows": [
            _window(name, windows, model.tr_s) for name, (model, _) in decoder.models.items()
        ],
        "curves": {
            metric: {
                key: [round(getattr(score, key), 4) for score in found]
                for key in ("value", "low", "high", "chance")
            }
            for metric, found in scores.items()
        },
        "images": {
            **{name: values.tolist() for name, values in columns.items()},
            "missing": _missing(decoder, chosen),
            "values": {metric: _values(decoder, chosen, metric) for metric in metrics},
        },
    }


def _window(
    name: str, windows: Mapping[str, Mapping[str, Any]], tr_s: float | None
) -> dict[str, Any]:
    t = times(name, windows, tr_s)
    return {
        "shift": split_window_name(name)[1],
        "start_s": round(t.start_s, 3),
        "end_s": round(t.upper_end_s, 3),
    }


def _missing(decoder: ShownDecoder, chosen: pd.DataFrame) -> dict[int, list[int]]:
    """Image to its windows without a picture."""
    absent = places(decoder, chosen) < 0
    return {
        int(image): np.flatnonzero(row).tolist()
        for image, row in zip(chosen["image_id"], absent, strict=True)
        if row.any()
    }


def _values(decoder: ShownDecoder, chosen: pd.DataFrame, metric: str) -> list[int | None]:
    """Values of the images, window by window, in units of `VALUE_UNIT`."""
    wanted = pd.MultiIndex.from_frame(chosen)
    table = [
        model.images(metric, window).set_index(["image_id", "trial"])["value"].reindex(wanted)
        for window, (model, _) in decoder.models.items()
    ]
    values = np.stack([column.to_numpy(float) for column in table], axis=1).ravel()
    return [None if np.isnan(value) else round(value / VALUE_UNIT) for value in values]


def _ids(described: Iterable[Mapping[str, Any]]) -> list[int]:
    """Every image of the decoders' pages, and its neighbours."""
    images = [decoder["images"] for decoder in described]
    columns = (column[key] for column in images for key in ("id", "previous", "next"))
    return sorted({image for column in columns for image in column} - {-1})


def _folders(shown: Iterable[ShownDecoder]) -> dict[str, str]:
    """Decoder: the folder of its pictures, numbered where names have the same letters."""
    folders: dict[str, str] = {}
    for place, decoder in enumerate(shown, start=1):
        slug = re.sub(r"[^a-z0-9]+", "-", decoder.name.lower()).strip("-")
        alone = slug and slug not in folders.values()
        folders[decoder.name] = slug if alone else f"{slug}--{place}"
    return folders
