"""Train and load Dynadiff (paper: Dynadiff, single-stage decoding of images from fMRI)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from boldvision import config
from boldvision.decoders.base import SubjectData
from boldvision.decoders.dynadiff.model import Dynadiff, count_parameters, is_shared
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.errors import UserError
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.images import to_uint8
from boldvision.generators.latents import LatentCache
from boldvision.generators.sampler import initial_noise, sample
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
        _check_subjects(pretrained, run.pretrained.subjects)
        _read_parameters(model, pretrained, is_shared)
    objective = DiffusionObjective(windows, latents, frozen, run.training, seed, accelerator.device)
    record = optimize(model, objective, accelerator, run.training, seed, checkpoints)
    if accelerator.is_main_process:
        trained = {name: value.cpu().contiguous() for name, value in model.trained().items()}
        save_file(trained, out / "model.safetensors")
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
        (out / "training.json").write_text(json.dumps(record, indent=2))


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
        The file does not hold the parameters, of the sizes, that the settings ask for.
    """
    record = _record(folder)
    frozen = load_generator(generator).to(device)
    model = Dynadiff(record["voxels"], record["n_tr"], frozen, run)
    _read_parameters(model, folder / "model.safetensors")
    return DynadiffDecoder(model, frozen, run, seed, device)


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "training.json").read_text())


def _read_parameters(
    model: Dynadiff, file: Path, wanted: Callable[[str], bool] = lambda name: True
) -> None:
    """Read the trained parameters whose names are `wanted`: all of them, no other, same shapes."""
    saved = {name: value for name, value in load_file(file).items() if wanted(name)}
    found = {(name, value.shape) for name, value in saved.items()}
    expected = {(name, value.shape) for name, value in model.trained().items() if wanted(name)}
    if other := expected ^ found:
        raise UserError(
            f"{file}: expected {len(expected)} parameters as the settings of the run say, found "
            f"{len(found)}; names or shapes differ, as of {min(name for name, _ in other)}. "
            "Train the model of this file again."
        )
    model.load_state_dict(saved, strict=False)


def _check_subjects(pretrained: Path, subjects: Sequence[str]) -> None:
    found = sorted(_record(pretrained.parent)["voxels"])
    if found != sorted(subjects):
        raise UserError(
            f"{pretrained}: expected a joint model of {', '.join(sorted(subjects))}, found one of "
            f"{', '.join(found)}. Train that model, or correct `pretrained.subjects` of the run."
        )


def _autocast(device: str, precision: str):
    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if precision not in dtypes:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtypes[precision])
