"""Make a model of ours of the weights that the authors published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from boldvision.config import Generator
from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import Job, SubjectData
from boldvision.decoders.dynadiff.model import Dynadiff, count_parameters
from boldvision.decoders.dynadiff_official.files import checkpoint_files
from boldvision.decoders.dynadiff_official.keys import convert, rest, sources
from boldvision.decoders.dynadiff_official.zero import read_checkpoint
from boldvision.errors import UserError
from boldvision.files import reading, sha256
from boldvision.generators.base import REMEDY, WEIGHTS

PREFIX = "model."
"""In front of the names that the released code loads; it reads no others."""

RELATIVE, ABSOLUTE = 2**-8, 2**-24
"""Precision of bfloat16, and the smallest number of float16: frozen weights are saved in these."""


def main(job: Job) -> None:
    """Write `model.safetensors` as Dynadiff's training does, for one subject.

    Raises
    ------
    UserError
        The weights are damaged, of another model, subject or generator.
    """
    if len(job.data) != 1:
        raise UserError(f"--data: expected one subject, found {len(job.data)}; give one")
    (subject,) = job.data
    states, *ranks = map(Path, checkpoint_files(job.run, subject.name))
    theirs = {
        name.removeprefix(PREFIX): value
        for name, value in read_checkpoint(states, ranks).items()
        if name.startswith(PREFIX)
    }
    voxels, generator = _voxels(subject), job.generators[job.run.generator]
    network = _network(job, {subject.name: voxels}, generator)
    needed = sources(network.trained(), subject.name, job.window.n_tr)
    parameters = convert(theirs, needed, states, subject.name)
    frozen = rest(theirs, needed)
    _compare(theirs, frozen, generator, states)
    record = {
        "source": job.run.label,
        "files": {file.name: sha256(file) for file in (states, *ranks)},
        "compared_with_the_generator": len(frozen),
        "voxels": {subject.name: voxels},
        "n_tr": job.window.n_tr,
        "parameters": count_parameters(network),
        "generator": generator.label,
    }
    write_artefact(job.out, parameters, record)


def _voxels(subject: SubjectData) -> int:
    """Of the clean series that the weights will decode."""
    file = subject.bold / "session01.npy"
    with reading(file, "clean series", "remove it and run again to prepare it anew"):
        return np.load(file, mmap_mode="r").shape[-1]


def _network(job: Job, voxels: Mapping[str, int], generator: Generator) -> Dynadiff:
    """Dynadiff without numbers."""
    from diffusers import UNet2DConditionModel

    folder = Path(generator.folder) / "image_unet"
    with reading(folder / "config.json", "the sizes of a network of diffusers", REMEDY):
        sizes = UNet2DConditionModel.load_config(folder, local_files_only=True)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(sizes).requires_grad_(False)
        frozen: Any = SimpleNamespace(settings=generator, unet=unet)
        return Dynadiff(voxels, job.window.n_tr, frozen, job.run)


def _compare(
    theirs: Mapping[str, torch.Tensor], names: Mapping[str, str], generator: Generator, file: Path
) -> None:
    """Raise UserError if what they did not train is not the generator's U-Net."""
    from safetensors import safe_open

    own = Path(generator.folder) / "image_unet" / WEIGHTS
    if not names:
        return
    expected = "the parameters of a network of diffusers"
    with reading(own, expected, REMEDY), safe_open(own, "pt") as unet:
        known = {f"unet.{name}": name for name in unet.keys()}  # noqa: SIM118
        for name, plain in names.items():
            if plain not in known:
                raise UserError(
                    f"{file}: expected the parameters of Dynadiff, found another, {name}; import "
                    "the weights of facebook/dynadiff, or correct `generator` of the run"
                )
            if not _equal(theirs[name], unet.get_tensor(known[plain])):
                raise UserError(
                    f"{file}: expected the U-Net of {generator.folder}, found other numbers in "
                    f"{name}; correct `generator` of the run, or its `revision`"
                )


def _equal(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    return theirs.shape == ours.shape and torch.allclose(
        theirs.float(), ours.float(), rtol=RELATIVE, atol=ABSOLUTE
    )
