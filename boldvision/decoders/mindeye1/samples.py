"""What steps of training show: windows of one subject, counted by trials or by images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

from boldvision.decoders.base import Job, SubjectData, read_finite
from boldvision.decoders.mindeye1.settings import Training
from boldvision.errors import UserError

T = TypeVar("T", bound=Training)


class Samples:
    """The training windows of a job's subject.

    Attributes
    ----------
    subject : SubjectData
    image_id : ndarray of int64, [N]
        Of each sample: of a trial, or each image once.
    inputs : int
        Samples of a window times voxels.

    Raises
    ------
    UserError
        The job has several subjects.
    """

    def __init__(self, job: Job):
        self.subject = _only(job)
        self.windows = job.windows(self.subject)
        shown = self.windows.trials["image_id"].to_numpy()
        if job.run.samples == "trials":
            self.image_id = shown
            self.repetitions = [np.array([position]) for position in range(len(shown))]
        else:
            positions = self.windows.trials.groupby("image_id").indices
            self.image_id = np.array(sorted(positions))
            self.repetitions = [positions[image] for image in self.image_id.tolist()]
        self.inputs = job.window.n_tr * self.windows.n_voxels

    def __len__(self) -> int:
        return len(self.image_id)

    def read(self, samples: np.ndarray, step: int) -> torch.Tensor:
        """Windows [B, T, V] of samples; of an image, a repetition that goes round with the step."""
        chosen = [(own := self.repetitions[sample])[step % len(own)] for sample in samples.tolist()]
        positions = np.array(chosen, np.int64)
        return torch.from_numpy(read_finite(self.windows, positions, self.subject.name))

    def weighted(self, samples: np.ndarray, weights: Sequence[np.ndarray]) -> torch.Tensor:
        """Windows [B, T, V] of samples: means of all repetitions with weights that sum to one."""
        own = [self.repetitions[sample] for sample in samples.tolist()]
        windows = read_finite(self.windows, np.concatenate(own), self.subject.name)
        each = np.split(windows, np.cumsum([len(positions) for positions in own])[:-1])
        means = [np.tensordot(w, group, 1) for w, group in zip(weights, each, strict=True)]
        return torch.from_numpy(np.stack(means))


def whole(settings: T, samples: int) -> T:
    """Settings whose `steps` are those that their epochs ask for, of so many samples."""
    if settings.counted == "steps":
        return settings
    steps = settings.epochs * max(1, samples // settings.batch_size)
    return settings.model_copy(update={"steps": steps})


def _only(job: Job) -> SubjectData:
    if len(job.data) == 1:
        return job.data[0]
    raise UserError(
        f"--data: expected one subject, whose voxels MindEye1's first layer is made for, found "
        f"{len(job.data)}; train a model of each (`subjects` in the runs table)"
    )
