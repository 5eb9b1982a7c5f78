"""The gallery: one page on which reconstructions are looked at, window by window."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from boldvision.config import TR_S, split_window_name
from boldvision.errors import UserError
from boldvision.files import replace_folder
from boldvision.report import faces, published, results
from boldvision.report.curves import GENERAL, SPECIALIZED, diagonal
from boldvision.report.results import Evaluation
from boldvision.report.times import STIMULUS_S, times

TEMPLATE = Path(__file__).with_name("gallery.html")

VALUE_UNIT = 1e-4
"""Values of single images are written as whole multiples of this."""

SMALL_PX = 100
"""Smaller pictures are enlarged without smoothing on the page, so they are stored without loss."""

WIDEST_PX = 16383
"""Width of a WebP file at most."""

BLANK = 238
"""Grey of a window that leaves its run."""

CHUNK = 64
"""Images whose reconstructions are in memory together."""

RULE = (
    "An image with several trials is shown by its first trial among those that have the most "
    "windows."
)
"""Which trial of an image is shown."""

BLURRED = "Faces in reconstructions are blurred; scores are of pictures that are not."


@dataclass(frozen=True)
class Decoder:
    """A row of the runs table for one subject.

    Attributes
    ----------
    name : str
    models : dict
        Test window, in order of time, to the model and its file of reconstructions.
    """

    name: str
    models: dict[str, tuple[Evaluation, Path]]

    @cached_property
    def listing(self) -> pd.DataFrame:
        """One row per reconstruction: ``window`` (its place), ``trial``, ``image_id``, ``place``.

        ``place`` is the row of the window's file.
        """
        parts = []
        for window, (_, path) in enumerate(self.models.values()):
            with h5py.File(path) as file:
                trial, image_id = file["trial"][:], file["image_id"][:]
            columns = {"trial": trial, "image_id": image_id, "place": np.arange(len(trial))}
            parts.append(pd.DataFrame({"window": window, **columns}))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def native_px(self) -> int:
        """Side of a reconstruction, pixels."""
        _, path = next(iter(self.models.values()))
        with h5py.File(path) as file:
            return file["images"].shape[1]


def decoders(rows: Sequence[Mapping[str, Any]], subject: str) -> list[Decoder]:
    """The decoders of a subject, in the order of the runs table.

    A row with a model per window shows, in the window of the General model, the General model.

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
    models: dict[str, dict[str, Evaluation]] = {}
    for evaluation, _ in pairs:
        tested = dict.fromkeys(evaluation.scores, evaluation)
        models.setdefault(evaluation.row, {}).update(tested)
    if SPECIALIZED in models:
        over_time = [e for e, _ in pairs if e.row in (GENERAL, SPECIALIZED)]
        models[SPECIALIZED] = diagonal(over_time)
    return [
        Decoder(
            name,
            {
                window: (found[window], folders[id(found[window])] / f"{window}.h5")
                for window in sorted(found, key=lambda window: split_window_name(window)[1])
            },
        )
        for name, found in models.items()
    ]


def choose(shown: Sequence[Decoder], count: int | None) -> list[pd.DataFrame]:
    """Images of a subject and the trial of each: per decoder ``image_id``, ``trial``, by id.

    Images that more decoders have come first, then those of smaller id. The trial follows `RULE`,
    over the windows of all decoders, so decoders with the same trials show the same one.

    Parameters
    ----------
    shown : sequence of Decoder
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
    columns = ["trial", "session", "task_run", "onset_row", "image_id"]
    table = trials[columns].sort_values("trial").rename(columns={"task_run": "run"})
    found = table[["trial", "session", "run"]].copy()
    for name, by in (("previous", 1), ("next", -1)):
        other = table.shift(by, fill_value=-1)
        same = (table["session"] == other["session"]) & (table["run"] == other["run"])
        seconds = by * (table["onset_row"] - other["onset_row"]) * TR_S
        found[name] = other["image_id"].where(same, -1)
        found[f"{name}_s"] = seconds.round().astype(int).where(same, -1)
    return found.set_index("trial")


def write(
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    image_px: int,
    images: int | None,
    windows: Mapping[str, Mapping[str, Any]],
    dataset: str,
    simulated: bool,
    blur: bool,
    out: str | Path,
) -> None:
    """Write the gallery: ``index.html``, ``pictures/`` and ``stimuli/`` in folder `out`.

    A file of ``pictures/`` holds the reconstructions of an image from all windows, side by side.

    Parameters
    ----------
    rows : sequence of mapping
        As `decoders` takes them; also ``stimuli`` (``images`` and ``image_id``) and ``trials``
        (trial table) of the subject.
    metrics : sequence of str
        Curves to choose from.
    image_px : int
        Side of a picture, pixels; smaller ones keep their size.
    images : int or None
        Images per subject; None is all.
    windows : mapping
        ``windows`` of the configuration.
    dataset : str
    simulated : bool
    blur : bool
        Whether faces in reconstructions are blurred.
    out : str or Path

    Raises
    ------
    UserError
        A file is missing or lacks a metric, or the pictures are too large.
    """
    evaluations = results.read(rows)
    partial = Path(out).with_name(f".{Path(out).name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    subjects: dict[str, dict[str, Any]] = {}
    for subject in dict.fromkeys(e.subject for e in evaluations):
        shown = decoders(rows, subject)
        files = next(row for row in rows if row["subject"] == subject)
        about = neighbours(pd.read_parquet(files["trials"]))
        subjects[subject] = {}
        for decoder, chosen in zip(shown, choose(shown, images), strict=True):
            folder = f"pictures/{subject}/{_slug(decoder.name)}"
            px = write_sprites(decoder, chosen, image_px, blur, partial / folder)
            subjects[subject][decoder.name] = {
                "folder": folder,
                "px": px,
                **describe(decoder, chosen, about, metrics, windows),
            }
        ids = _ids(subjects[subject].values())
        stimulus_px = write_stimuli(files["stimuli"], ids, image_px, partial / "stimuli")
    widest = max(shown["px"] for of in subjects.values() for shown in of.values())
    page = {
        "note": results.data_note(evaluations, dataset, simulated),
        "simulated": simulated,
        "remarks": [RULE, *([BLURRED] if blur and widest >= faces.SMALLEST_PICTURE_PX else [])],
        "stimulus_s": STIMULUS_S,
        "stimulus_px": stimulus_px,
        "value_unit": VALUE_UNIT,
        "metrics": {
            metric: {
                "name": published.METRICS[metric][0],
                "percent": published.METRICS[metric][1],
                "better": evaluations[0].metrics[metric].better,
                "label": evaluations[0].metrics[metric].label,
            }
            for metric in metrics
        },
        "subjects": subjects,
    }
    (partial / "index.html").write_text(to_html(page), encoding="utf-8")
    replace_folder(partial, out)


def to_html(page: Mapping[str, Any]) -> str:
    """The page with its data; no text in them can end the element that holds them."""
    data = json.dumps(page, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("{{ data }}", data)


def describe(
    decoder: Decoder,
    chosen: pd.DataFrame,
    about: pd.DataFrame,
    metrics: Sequence[str],
    windows: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What the page says of a decoder: its windows, its curves (fractions) and its images.

    Parameters
    ----------
    decoder : Decoder
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
        "windows": [_window(name, windows) for name in decoder.models],
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


def _window(name: str, windows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    t = times(name, windows)
    return {
        "shift": split_window_name(name)[1],
        "start_s": round(t.start_s, 3),
        "end_s": round(t.upper_end_s, 3),
    }


def _places(decoder: Decoder, chosen: pd.DataFrame) -> np.ndarray:
    """Row of the window's file [images, windows]; -1 where the window leaves the run."""
    order = chosen.reset_index().rename(columns={"index": "image"})
    found = order.merge(decoder.listing, on=["image_id", "trial"])
    places = np.full((len(chosen), len(decoder.models)), -1)
    places[found["image"], found["window"]] = found["place"]
    return places


def _missing(decoder: Decoder, chosen: pd.DataFrame) -> dict[int, list[int]]:
    """Image to its windows without a picture."""
    absent = _places(decoder, chosen) < 0
    return {
        int(image): np.flatnonzero(row).tolist()
        for image, row in zip(chosen["image_id"], absent, strict=True)
        if row.any()
    }


def _values(decoder: Decoder, chosen: pd.DataFrame, metric: str) -> list[int | None]:
    """Values of the images, window by window, in units of `VALUE_UNIT`."""
    wanted = pd.MultiIndex.from_frame(chosen)
    table = [
        model.images(metric, window).set_index(["image_id", "trial"])["value"].reindex(wanted)
        for window, (model, _) in decoder.models.items()
    ]
    values = np.stack([column.to_numpy(float) for column in table], axis=1).ravel()
    return [None if np.isnan(value) else round(value / VALUE_UNIT) for value in values]


def write_sprites(
    decoder: Decoder, chosen: pd.DataFrame, image_px: int, blur: bool, folder: Path
) -> int:
    """Write one file per image, ``{image_id}.webp``: its windows side by side.

    Faces are blurred in the size that is shown.

    Returns
    -------
    int
        Side of a picture, pixels.
    """
    px = min(image_px, decoder.native_px)
    if px * len(decoder.models) > WIDEST_PX:
        raise UserError(
            f"gallery: {len(decoder.models)} windows of {px} pixels: expected at most {WIDEST_PX} "
            "pixels side by side; lower `gallery: image_px`"
        )
    places = _places(decoder, chosen)
    for start in range(0, len(chosen), CHUNK):
        some = slice(start, start + CHUNK)
        ids = chosen["image_id"].to_numpy()[some]
        row = np.full((len(ids), px, len(decoder.models), px, 3), BLANK, np.uint8)
        for window, (_, path) in enumerate(decoder.models.values()):
            place = places[some, window]
            there = place >= 0
            if there.any():
                pictures = resized(_read(path, place[there]), px)
                row[there, :, window] = faces.shown(pictures, blur)
        _save(row.reshape(len(ids), px, -1, 3), ids, folder)
    return px


def write_stimuli(source: str | Path, image_ids: Sequence[int], image_px: int, folder: Path) -> int:
    """Write the stimuli, ``{image_id}.webp``, that another subject has not written yet.

    Returns
    -------
    int
        Side of a picture, pixels.
    """
    with h5py.File(source) as file:
        rows = pd.Series(np.arange(len(file["image_id"])), index=file["image_id"][:])
        px = min(image_px, file["images"].shape[1])
    if unknown := [image for image in image_ids if image not in rows.index]:
        raise UserError(
            f"{source}: expected image_id {unknown[0]}, found none ({len(unknown)} of "
            f"{len(image_ids)} are missing); fetch `images` again"
        )
    new = np.array([i for i in image_ids if not (folder / f"{i}.webp").exists()], int)
    for start in range(0, len(new), CHUNK):
        ids = new[start : start + CHUNK]
        _save(resized(_read(source, rows[ids].to_numpy()), px), ids, folder)
    return px


def resized(images: np.ndarray, px: int) -> np.ndarray:
    """Pictures uint8 [N, H, W, 3] as [N, px, px, 3]."""
    if images.shape[1:3] == (px, px):
        return images
    size, kind = (px, px), Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(image).resize(size, kind)) for image in images])


def _read(path: str | Path, places: np.ndarray) -> np.ndarray:
    """Rows of a file of pictures, in the order given."""
    unique, back = np.unique(places, return_inverse=True)  # HDF5 wants them sorted
    with h5py.File(path) as file:
        return file["images"][unique][back]


def _save(pictures: np.ndarray, image_ids: Iterable[int], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    options = {"lossless": pictures.shape[1] < SMALL_PX, "quality": 85, "method": 0}
    for picture, image_id in zip(pictures, image_ids, strict=True):
        Image.fromarray(picture).save(folder / f"{image_id}.webp", **options)


def _ids(described: Iterable[Mapping[str, Any]]) -> list[int]:
    """Every image of the decoders' pages, and its neighbours."""
    images = [decoder["images"] for decoder in described]
    columns = (column[key] for column in images for key in ("id", "previous", "next"))
    return sorted({image for column in columns for image in column} - {-1})


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
