"""Stage `captions`: what people said of the images of one subject.

NSD's images are COCO's, cropped: nsd_stim_info_merged.csv tells which, and COCO has the captions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from boldvision.captions import write_captions
from boldvision.cli import settings_from
from boldvision.config import Design, Section, Subject
from boldvision.datasets.nsd.annotations import SPLITS, read_captions_of
from boldvision.datasets.nsd.design import image_sequence, read_experiment_design
from boldvision.errors import FETCH_AGAIN, UserError
from boldvision.files import reading

AT_MOST = 5
"""Captions of an image that are kept, the first ones; COCO has five or a few more."""

COLUMNS = ["nsdId", "cocoId", "cocoSplit"]

LARGEST_TABLE = 1 << 27
"""Bytes of nsd_stim_info_merged.csv, at most; the real one has 11 MB."""


class Settings(Section):
    """What `--settings` of the stage says."""

    design: Design
    subject: Subject


def read_stimulus_table(path: Path, images: int) -> pd.DataFrame:
    """Which image of COCO each image is: `cocoId`, `cocoSplit`, by image_id (1-based).

    Raises
    ------
    UserError
        The file is missing or damaged, or not of as many images as the experiment has.
    """
    with reading(path, f"a table of {images} images with {', '.join(COLUMNS)}", FETCH_AGAIN):
        if (size := path.stat().st_size) > LARGEST_TABLE:
            raise ValueError(f"{size} bytes")
        kinds = {"nsdId": np.int64, "cocoId": np.int64, "cocoSplit": str}
        table = pd.read_csv(path, usecols=COLUMNS, dtype=kinds)
        if not np.array_equal(np.sort(table["nsdId"]), np.arange(images)):
            raise ValueError(f"{len(table)} lines whose nsdId are not 0 to {images - 1} once each")
        if strange := sorted({*table["cocoSplit"].astype(str)} - {*SPLITS}):
            raise ValueError(f"cocoSplit {strange[0]!r}, which is neither of {', '.join(SPLITS)}")
    return table.set_index(table["nsdId"] + 1)  # nsdId is 0-based


def captions_of(
    image_id: np.ndarray, table: pd.DataFrame, annotations: Path
) -> dict[int, list[str]]:
    """At most `AT_MOST` captions of each image, in COCO's order.

    Raises
    ------
    UserError
        COCO's files are missing or damaged, or an image has no caption.
    """
    chosen = table.loc[image_id]
    keys = list(zip(chosen["cocoSplit"].tolist(), chosen["cocoId"].tolist(), strict=True))
    numbers = {split: {number for of, number in keys if of == split} for split in SPLITS}
    wanted = {split: some for split, some in numbers.items() if some}
    found = read_captions_of(annotations, wanted, AT_MOST)
    pairs = list(zip(image_id.tolist(), keys, strict=True))
    if missing := [(image, key) for image, key in pairs if key not in found]:
        image, (split, number) = missing[0]
        raise UserError(
            f"{annotations}: expected captions of every image, found none of {len(missing)} of "
            f"{len(pairs)}, the first image {image}, which is {number} of {split}; "
            "correct `coco.folder`, or fetch archive and nsd_stim_info_merged.csv again"
        )
    return {image: found[key] for image, key in pairs}


def main(argv: list[str]) -> None:
    """Stage `captions`."""
    parser = argparse.ArgumentParser(prog="boldvision captions", description=__doc__)
    parser.add_argument("--expdesign", type=Path, required=True, help="nsd_expdesign.mat")
    parser.add_argument("--table", type=Path, required=True, help="nsd_stim_info_merged.csv")
    parser.add_argument(
        "--annotations", type=Path, required=True, help="COCO's archive, or a folder with its files"
    )
    parser.add_argument("--settings", required=True, help="JSON: `subject` and `design`")
    parser.add_argument("--out", type=Path, required=True, help=".parquet")
    arguments = parser.parse_args(argv)
    settings = Settings.model_validate(settings_from(arguments.settings))
    subject = settings.subject
    experiment = read_experiment_design(arguments.expdesign, settings.design)
    image_id = np.unique(image_sequence(experiment, subject.number, subject.sessions))
    table = read_stimulus_table(arguments.table, settings.design.images)
    write_captions(arguments.out, captions_of(image_id, table, arguments.annotations))
