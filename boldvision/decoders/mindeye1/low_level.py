"""Train MindEye1's low level: the map to latents of a blurry picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import Job
from boldvision.decoders.mindeye1.augment import augment, low_level
from boldvision.decoders.mindeye1.low_level_network import SCALE, LowLevelNetwork
from boldvision.decoders.mindeye1.samples import Samples, whole
from boldvision.decoders.mindeye1.settings import LowLevel
from boldvision.device import fuse
from boldvision.errors import UserError
from boldvision.generators.images import to_tensor
from boldvision.images import ImageStack
from boldvision.networks.convnext.network import ConvNext, load
from boldvision.networks.convnext.settings import Network
from boldvision.seeds import derive, numpy_generator
from boldvision.targets.base import TargetFile
from boldvision.training.gather import require_whole_shares, rows_of_all
from boldvision.training.loop import make_accelerator, optimize
from boldvision.training.record import versions
from boldvision.training.schedule import ShuffledBatches


def main(job: Job) -> None:
    """Train the network in float32, which a card multiplies as TensorFloat-32.

    Raises
    ------
    UserError
        Map, teacher and latents do not fit each other, a process cannot hold its rows of a batch,
        or there are several subjects.
    """
    samples = Samples(job)
    settings = whole(job.run.low_level, len(samples))
    accelerator = make_accelerator(settings)
    require_whole_shares(settings, "low_level", accelerator.num_processes)
    if accelerator.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    teacher_settings: Any = job.networks[job.run.teacher]
    teacher = load(teacher_settings).to(accelerator.device)
    latents = TargetFile(samples.subject.targets[job.run.latents])
    _check_sizes(settings, latents, teacher_settings)
    torch.manual_seed(job.seed)
    model = LowLevelNetwork(samples.inputs, teacher_settings.width, settings)
    make_fast(model.to(accelerator.device), settings)
    objective = Objective(samples, latents, teacher, settings, job.seed)
    record = optimize(model, objective, accelerator, settings, job.seed, job.checkpoints)
    if accelerator.is_main_process:
        record |= {
            "inputs": samples.inputs,
            "width": teacher_settings.width,
            "samples": len(samples),
            "dropped_windows": samples.windows.dropped,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "teacher": teacher_settings.label,
            **versions(accelerator.device),
        }
        write_artefact(job.out, model.trained(), record)


def make_fast(model: LowLevelNetwork, settings: LowLevel) -> None:
    """Take the network as the settings ask for it: the same function, but for rounding."""
    if settings.activation_checkpointing:
        model.through = partial(checkpoint, model.upsampler, use_reentrant=False)
    if settings.compile:
        fuse(model)


def _check_sizes(settings: LowLevel, latents: TargetFile, teacher: Network) -> None:
    """Refuse a map that becomes latents, or is compared with tokens, of another side."""
    side = settings.side * 2 ** (len(settings.decoder_channels) - 1)
    if (found := latents["mean"].shape[-1]) != side:
        raise UserError(
            f"low_level.side: {settings.side} and {len(settings.decoder_channels)} "
            f"`decoder_channels` make latents of {side} x {side}, those of {latents.path} are "
            f"{found} x {found}; change one of them"
        )
    if teacher.side != settings.side:
        raise UserError(
            f"low_level.side: expected {teacher.side}, the side of the teacher's map, found "
            f"{settings.side}; change it, or name another `teacher`"
        )


class Objective:
    """Absolute error of latents, and likeness of tokens to a teacher's.

    Everything random in a row of the global batch is drawn from (seed, step, row); likeness is that
    of all tokens of all processes' rows.

    Parameters
    ----------
    samples : Samples
    latents : TargetFile
        Posteriors of an autoencoder, of all images shown.
    teacher : ConvNext
    settings : LowLevel
    seed : int
    """

    def __init__(
        self,
        samples: Samples,
        latents: TargetFile,
        teacher: ConvNext,
        settings: LowLevel,
        seed: int,
    ):
        self.samples, self.latents, self.teacher = samples, latents, teacher
        self.settings, self.seed = settings, seed
        self.images, self.px = ImageStack(samples.subject.images), teacher.settings.image_px
        self.rows = latents.rows(samples.image_id)
        self.batches = ShuffledBatches(len(samples), settings.batch_size, seed)

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        """Windows, means of posteriors, pictures as they are and augmented, of rows of a step."""
        samples = self.batches[step][rows]
        pictures = self.images.read(self.samples.image_id[samples])
        plain = to_tensor(pictures, self.px) / 2 + 0.5
        seeds = [derive(self.seed, "augment", step, row) for row in range(rows.start, rows.stop)]
        return {
            "bold": self._bold(step, rows, samples),
            "mean": torch.from_numpy(self.latents["mean"][self.rows[samples]]),
            "plain": plain,
            "augmented": augment(plain, seeds, low_level, self.px),
        }

    def _bold(self, step: int, rows: slice, samples: np.ndarray) -> Tensor:
        counts = [len(self.samples.repetitions[sample]) for sample in samples.tolist()]
        weights = repetition_weights(self.seed, step, range(rows.start, rows.stop), counts)
        return self.samples.weighted(samples, weights)

    def loss(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Absolute error of this process's rows, and likeness of the global batch."""
        latents, tokens = model(batch["bold"])
        error = F.l1_loss(latents.float() / SCALE, batch["mean"].float())
        with torch.no_grad():
            plain, augmented = (self.teacher.tokens(batch[key]) for key in ("plain", "augmented"))
        student, plain, augmented = (
            rows_of_all(some.flatten(0, 1)) for some in (tokens.float(), plain, augmented)
        )
        settings = self.settings
        contrast = likeness(student, plain, augmented, settings.teacher_temperature)
        return error + settings.teacher_weight * contrast


def likeness(student: Tensor, plain: Tensor, augmented: Tensor, temperature: float) -> Tensor:
    """How far the student's tokens are from being like augmented ones as the teacher's are.

    Parameters
    ----------
    student : Tensor, [N, width]
        Tokens of all images.
    plain, augmented : Tensor, [N, width]
        The teacher's, of the images as they are and augmented.
    temperature : float

    Returns
    -------
    Tensor
        Mean of two cross-entropies: of plain tokens with augmented ones, and the other way round.
    """
    student, plain, augmented = (F.normalize(x, dim=-1) for x in (student, plain, augmented))
    expected, found = (x @ augmented.T / temperature for x in (plain, student))
    return (_cross_entropy(expected, found) + _cross_entropy(expected.T, found.T)) / 2


def _cross_entropy(expected: Tensor, found: Tensor) -> Tensor:
    return -(expected.softmax(-1) * found.log_softmax(-1)).sum(-1).mean()


def repetition_weights(
    seed: int, step: int, rows: Sequence[int], counts: Sequence[int]
) -> list[np.ndarray]:
    """Weights of an image's repetitions in a step's rows, float32, which sum to one.

    In half of all steps they are random, in three of ten equal, in two a single one is taken.
    """
    choice, weights = numpy_generator(seed, "repetitions", step).random(), []
    for row, count in zip(rows, counts, strict=True):
        random = numpy_generator(seed, "repetitions", step, row)
        own = random.random(count) if choice < 0.5 else np.ones(count)
        if choice >= 0.8:
            own = np.eye(count)[random.integers(count)]
        weights.append((own / own.sum()).astype(np.float32))
    return weights
