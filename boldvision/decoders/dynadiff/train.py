"""Train Dynadiff (paper: Dynadiff, single-stage decoding of images from fMRI)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from boldvision.decoders.artefact import read_artefact, write_artefact
from boldvision.decoders.base import Job
from boldvision.decoders.dynadiff.model import Dynadiff, count_parameters, is_shared
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.decoders.dynadiff.settings import Training
from boldvision.decoders.record import PARAMETERS
from boldvision.device import fuse, hold_frozen
from boldvision.errors import UserError
from boldvision.generators.base import load_generator
from boldvision.parameters import load_parameters
from boldvision.targets.base import TargetFile
from boldvision.training.loop import make_accelerator, optimize
from boldvision.training.record import versions


def main(job: Job) -> None:
    """Train brain module and adapters jointly.

    What the U-Net trains is in `finetune` of the run. A run with `pretrained` begins with what the
    subjects of that model share; a checkpoint of its own goes before.

    Raises
    ------
    UserError
        The model to start from is of other subjects, or has other parameters.
    """
    run, generator = job.run, job.generators[job.run.generator]
    accelerator = make_accelerator(run.training, some_unused=len(job.data) > 1)
    frozen = load_generator(generator)
    windows = {subject.name: job.windows(subject) for subject in job.data}
    latents = {subject.name: TargetFile(subject.targets[run.latents]) for subject in job.data}
    voxels = {name: subject_windows.n_voxels for name, subject_windows in windows.items()}
    torch.manual_seed(job.seed)
    model = Dynadiff(voxels, job.window.n_tr, frozen, run)
    if job.start:
        _start_from(job.start / "train", model, run.pretrained.subjects)
    make_fast(model.to(accelerator.device), run.training)
    objective = DiffusionObjective(windows, latents, frozen, run.training, job.seed)
    record = optimize(model, objective, accelerator, run.training, job.seed, job.checkpoints)
    if accelerator.is_main_process:
        record |= {
            "voxels": voxels,
            "dropped_windows": {name: w.dropped for name, w in windows.items()},
            "trials": {name: len(w) for name, w in windows.items()},
            "sessions": {name: w.trials["session"].nunique() for name, w in windows.items()},
            "n_tr": job.window.n_tr,
            "parameters": count_parameters(model),
            "generator": generator.label,
            **versions(accelerator.device),
        }
        write_artefact(job.out, model.trained(), record)


def make_fast(model: Dynadiff, settings: Training) -> None:
    """Take the U-Net as the settings ask for it: the same function, but for rounding."""
    hold_frozen(model.unet, settings.precision)
    if settings.activation_checkpointing:
        model.unet.enable_gradient_checkpointing()
    if settings.compile:
        fuse(model.unet)


def _start_from(folder: Path, model: Dynadiff, subjects: Sequence[str]) -> None:
    """Give `model` what a joint model of `subjects` shares with it."""
    saved, record = read_artefact(folder)
    if (found := sorted(record["voxels"])) != sorted(subjects):
        raise UserError(
            f"{folder}: expected a joint model of {', '.join(sorted(subjects))}, found one of "
            f"{', '.join(found)}. Train that model, or correct `pretrained.subjects` of the run."
        )
    own, shared = (
        {name: value for name, value in parameters.items() if is_shared(name)}
        for parameters in (model.trained(), saved)
    )
    load_parameters(own, shared, folder / PARAMETERS)
