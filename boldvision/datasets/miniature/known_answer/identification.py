"""Held-out images are identified from their reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from boldvision.datasets.miniature.known_answer.finding import Finding
from boldvision.errors import UserError
from boldvision.hdf5 import open_pictures
from boldvision.metrics.identification import two_way_identification
from boldvision.report.results import Result


def pixel_identification(reconstructions: Path, stimuli: Path) -> pd.DataFrame:
    """Two-way identification of reconstructions with raw pixels as features.

    Parameters
    ----------
    reconstructions : Path
        ``images`` uint8 [N, H, W, 3] and ``image_id`` [N].
    stimuli : Path
        ``images`` uint8 [M, px, px, 3] and ``image_id`` [M]; resized to H x W (bicubic).

    Returns
    -------
    DataFrame, [N]
        ``image_id``, and ``value``: fraction of comparisons won; chance is 0.5.

    Raises
    ------
    UserError
        A reconstructed image is not among the stimuli.
    """
    with open_pictures(reconstructions) as file:
        made, image_ids = file["images"][:], file["image_id"][:]
    unique, pairs = np.unique(image_ids, return_inverse=True)
    with open_pictures(stimuli) as file:
        place = {int(image_id): i for i, image_id in enumerate(file["image_id"][:])}
        if missing := set(unique.tolist()) - set(place):
            raise UserError(
                f"{stimuli}: expected the images of {reconstructions}, {len(missing)} are missing; "
                "make the file again"
            )
        seen = [Image.fromarray(file["images"][place[image_id]]) for image_id in unique.tolist()]
    size = made.shape[2], made.shape[1]
    resized = np.stack([np.asarray(image.resize(size)) for image in seen])
    won = two_way_identification(
        stimuli=resized.reshape(len(resized), -1).astype(np.float64),
        predictions=made.reshape(len(made), -1).astype(np.float64),
        direction="prediction",
        pairs=pairs,
    )
    return pd.DataFrame({"image_id": image_ids, "value": won})


def check_identification(models: list[tuple[Result, Path, Path, float]]) -> list[Finding]:
    """Held-out images are identified at the training window, by pixels and by AlexNet(2).

    Parameters
    ----------
    models : list of (evaluation, reconstructions, stimuli, least)
        Every trained subject, and the least two-way identification that is expected.
    """
    findings = []
    for evaluation, reconstructions, stimuli, least in models:
        scores = {
            "pixels": float(pixel_identification(reconstructions, stimuli)["value"].mean()),
            "AlexNet(2)": float(evaluation.images("alexnet_2")["value"].mean()),
        }
        findings += [
            Finding(
                f"identification by {features}",
                f"{evaluation.row}, {evaluation.subject}, {evaluation.window}",
                f"{score:.3f}",
                f">= {least:.2f}",
                score >= least,
            )
            for features, score in scores.items()
        ]
    return findings
