"""Average the training images."""

from __future__ import annotations

import numpy as np
import torch

from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import Job
from boldvision.generators.images import to_tensor
from boldvision.images import ImageStack
from boldvision.trials.table import read_split, read_trials


def main(job: Job) -> None:
    """Average the training images of all subjects, each counted once per trial."""
    run = job.run
    total, count = torch.zeros(3, run.image_px, run.image_px, dtype=torch.float64), 0
    for subject in job.data:
        trials = read_trials(subject.trials)
        trials = trials[read_split(subject.split, trials) == "train"]
        ids = trials.loc[trials["session"] <= (run.sessions or np.inf), "image_id"]
        images = ImageStack(subject.images)
        for image_id, repetitions in ids.value_counts(sort=False).sort_index().items():
            picture = to_tensor(images.read(np.array([image_id])), run.image_px)[0]
            total += repetitions * picture.double()
        count += len(ids)
    write_artefact(job.out, {"mean_image": (total / count).float()}, {"trials": count})
