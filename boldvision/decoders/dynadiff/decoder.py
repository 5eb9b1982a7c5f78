"""Train and load Dynadiff (paper: Dynadiff, single-stage decoding of images from fMRI)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from boldvision import config
from boldvision.decoders.base import SubjectData
from boldvision.decoders.dynadiff.model import Dynadiff, count_parameters, is_shared
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.decoders.model_file import PARAMETERS, RECORD, REMEDY, read_model, write_model
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.images import to_uint8
from boldvision.generators.latents import LatentCache
from boldvision.generators.sampler import initial_noise, sample
from boldvision.parameters import load_parameters
from boldvision.training.loop import make_accelerator, optimize
from boldvision.training.record import versions
from boldvision.trials.windows import load_windows


def train(
    run: config.DynadiffRun,
    generator: config.Generator,
    data: Sequence[SubjectData],
    window: config.Window,
    seed: int,
    out: Path,
    checkpoints: Path,
    pretrained: Path | None,
) -> None:
    """Train brain module and adapters jointly, and write the model to folder `out`.

    What the U-Net trains is in `run.finetune`. A run with `run.pretrained` begins with what the
    subjects of that model share; a checkpoint of its own goes before.

    Raises
    ------
    UserError
        The model to start from is of other subjects, or has other parameters.
    """
    accelerator = make_accelerator(run.training)
    frozen = load_generator(generator).to(accelerator.device)
    windows = {
        subject.name: load_windows(
            subject.need("bold"),
            subject.trials,
            window,
            subject.preprocessing,
            run.split,
            "train",
            sessions=run.sessions,
        )
        for subject in data
    }
    latents = {subject.name: LatentCache(subject.need("latents")) for subject in data}
    voxels = {name: subject_windows.n_voxels for name, subject_windows in windows.items()}
    torch.manual_seed(seed)
    model = Dynadiff(voxels, window.n_tr, frozen, run)
    if pretrained and run.pretrained:
        _start_from(pretrained, model, run.pretrained.subjects)
    objective = DiffusionObjective(windows, latents, frozen, run.training, seed, accelerator.device)
    record = optimize(model, objective, accelerator, run.training, seed, checkpoints)
    if accelerator.is_main_process:
        record |= {
            "voxels": voxels,
            "dropped_windows": {name: w.dropped for name, w in windows.items()},
            "trials": {name: len(w) for name, w in windows.items()},
            "sessions": {name: w.trials["session"].nunique() for name, w in windows.items()},
            "n_tr": window.n_tr,
            "parameters": count_parameters(model),
            "generator": generator.label,
            **versions(accelerator.device),
        }
        write_model(out, model.trained(), record)


class DynadiffDecoder:
    """A trained model, ready to reconstruct."""

    def __init__(
        self, model: Dynadiff, generator: Generator, run: config.DynadiffRun, seed: int, device: str
    ):
        self.model, self.generator, self.run = model.to(device).eval(), generator, run
        self.seed, self.device, self.label = seed, device, generator.settings.label

    @torch.no_grad()
    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.Decoder`."""
        settings = self.run.reconstruction
        noise = initial_noise(self.generator.latent_shape, self.seed, keys).to(self.device)
        with _autocast(self.device, settings.precision):
            condition = self.model.brain_module(
                [(subject, torch.from_numpy(windows).to(self.device))]
            )
            unconditional = self.model.unconditional.to(condition.dtype)
            pictures = sample(
                self.generator,
                condition,
                unconditional,
                noise,
                settings.steps,
                settings.guidance_scale,
            )
        return to_uint8(pictures)


def load(
    run: config.DynadiffRun,
    generator: config.Generator,
    folder: Path,
    seed: int,
    device: str,
) -> DynadiffDecoder:
    """Read a model that `train` wrote.

    Raises
    ------
    UserError
        The model is damaged, or not of the parameters, of the sizes, that the settings ask for.
    """
    parameters, record = read_model(folder)
    frozen = load_generator(generator).to(device)
    with reading(folder / RECORD, "the record of a Dynadiff model", REMEDY):
        voxels, n_tr = dict(record["voxels"]), int(record["n_tr"])
    model = Dynadiff(voxels, n_tr, frozen, run)
    load_parameters(model.trained(), parameters, folder / PARAMETERS)
    return DynadiffDecoder(model, frozen, run, seed, device)


def _start_from(pretrained: Path, model: Dynadiff, subjects: Sequence[str]) -> None:
    """Give `model` what a joint model of `subjects` shares with it."""
    saved, record = read_model(pretrained.parent)
    if (found := sorted(record["voxels"])) != sorted(subjects):
        raise UserError(
            f"{pretrained}: expected a joint model of {', '.join(sorted(subjects))}, found one of "
            f"{', '.join(found)}. Train that model, or correct `pretrained.subjects` of the run."
        )
    own, shared = (
        {name: value for name, value in parameters.items() if is_shared(name)}
        for parameters in (model.trained(), saved)
    )
    load_parameters(own, shared, pretrained)


def _autocast(device: str, precision: str):
    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if precision not in dtypes:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtypes[precision])
