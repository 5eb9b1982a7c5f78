"""Make pictures with a trained Dynadiff."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch

from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.base import Trained
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.settings import Run
from boldvision.decoders.record import PARAMETERS, RECORD, REMEDY
from boldvision.files import reading
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.images import to_uint8
from boldvision.generators.sampler import initial_noise, sample
from boldvision.parameters import load_parameters


class DynadiffDecoder:
    """A trained model, ready to reconstruct."""

    def __init__(self, model: Dynadiff, generator: Generator, run: Run, seed: int, device: str):
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


def load(model: Trained) -> DynadiffDecoder:
    """Read what stage `train` wrote.

    Raises
    ------
    UserError
        The model is damaged, or not of the parameters, of the sizes, that the settings ask for.
    """
    folder = model.folder / "train"
    parameters, record = read_artefact(folder)
    frozen = load_generator(model.generators[model.run.generator]).to(model.device)
    with reading(folder / RECORD, "the record of a Dynadiff model", REMEDY):
        voxels, n_tr = dict(record["voxels"]), int(record["n_tr"])
    network = Dynadiff(voxels, n_tr, frozen, model.run)
    load_parameters(network.trained(), parameters, folder / PARAMETERS)
    return DynadiffDecoder(network, frozen, model.run, model.seed, model.device)


def _autocast(device: str, precision: str):
    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if precision not in dtypes:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtypes[precision])
