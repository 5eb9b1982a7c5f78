"""The miniature's COCO: an archive of captions like COCO's own, of the simulated scenes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from boldvision.datasets.miniature.scenes import caption
from boldvision.datasets.miniature.simulation import Simulation
from boldvision.datasets.nsd.annotations import ARCHIVE, SPLITS

FIRST, STEP = 9, 4
"""COCO's smallest number, and a distance between numbers; made up."""

OF_VAL = 24
"""One image in so many is of val2017, about as in NSD."""


def numbers_in_coco(n_images: int) -> pd.DataFrame:
    """Columns `cocoId` and `cocoSplit` of images 1 to `n_images`, in an order of their own."""
    backwards = np.arange(n_images)[::-1]
    split = np.where(backwards % OF_VAL, *SPLITS)
    return pd.DataFrame({"cocoId": FIRST + STEP * backwards, "cocoSplit": split})


def write_archive(simulation: Simulation, root: Path) -> None:
    """Captions of every picture, under COCO's key."""
    table = numbers_in_coco(simulation.settings.design.images).loc[simulation.image_id - 1]
    table["captions"] = [caption(scene) for scene in simulation.scenes]
    (root / ARCHIVE).parent.mkdir(parents=True)
    with zipfile.ZipFile(root / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        for split, images in table.groupby("cocoSplit"):
            said = dict(zip(images["cocoId"].tolist(), images["captions"], strict=True))
            # Without the time of writing: the same bytes every time.
            member = zipfile.ZipInfo(f"annotations/captions_{split}.json")
            archive.writestr(member, json.dumps(_content(said)), zipfile.ZIP_DEFLATED)


def _content(said: Mapping[int, list[str]]) -> dict[str, Any]:
    """As in COCO's files, where the captions of an image lie apart."""
    rounds = max(map(len, said.values()), default=0)
    texts = [(n, some[k]) for k in range(rounds) for n, some in said.items() if k < len(some)]
    return {
        "info": {"description": "simulated"},
        "images": [{"id": number} for number in said],
        "annotations": [
            {"image_id": number, "id": k, "caption": text} for k, (number, text) in enumerate(texts)
        ],
    }
