"""Captions of images: what people said that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.parquet import read_table

AGAIN = "remove the file and run again to make it anew"


def write_captions(out: Path, captions: Mapping[int, Sequence[str]]) -> None:
    """Write the captions of images by image_id: a row for each caption, in their order."""
    rows = [(image_id, text) for image_id in sorted(captions) for text in captions[image_id]]
    with atomic(out) as part:
        table = pd.DataFrame(rows, columns=["image_id", "caption"])
        table.to_parquet(part, index=False, write_page_checksum=True)


def read_captions(path: Path, image_ids: np.ndarray) -> list[list[str]]:
    """Captions of each image, in the order of `image_ids`.

    Raises
    ------
    UserError
        The file is missing or damaged, or an image has no caption.
    """
    table = read_table(path, {"image_id": "i", "caption": "O"}, "captions of images", AGAIN)
    said = table.groupby("image_id")["caption"].apply(list).to_dict()
    if missing := sorted({*image_ids.tolist()} - {*said}):
        raise UserError(
            f"{path}: expected a caption of every image, found none of images {missing[:5]} "
            f"({len(missing)} in all); {AGAIN}"
        )
    return [said[image_id] for image_id in image_ids.tolist()]
