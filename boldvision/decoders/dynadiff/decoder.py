"""Make pictures with a trained Dynadiff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.base import Trained
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.settings import Run
from boldvision.decoders.record import PARAMETERS, RECORD, REMEDY
from boldvision.device import autocast, fast_attention, hold_frozen
from boldvision.files import reading
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.decode import decode_latents
from boldvision.generators.sampler import initial_noise, sample, step_streams
from boldvision.parameters import load_parameters


class DynadiffDecoder:
    """A trained model, ready to reconstruct."""

    def __init__(self, model: Dynadiff, generator: Generator, run: Run, seed: int, device: str):
        self.model, self.generator, self.run = model.to(device).eval(), generator, run
        self.seed, self.device, self.label = seed, device, generator.settings.label
        for network in (model, generator.vae):
            hold_frozen(network.requires_grad_(False), run.reconstruction.precision)

    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.Decoder`."""
        latents, settings = self._sample(windows, subject, keys), self.run.reconstruction
        return decode_latents(
            self.generator.vae, latents, settings.precision, settings.rounding, settings.blur_faces
        )

    def latents(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """Latents, float16 [B, C, h, w], of which `decode_latents` makes the pictures.

        They are 24 times smaller than pictures, and without the VAE's scaling factor.
        """
        return self._sample(windows, subject, keys).cpu().numpy().astype(np.float16)

    @torch.no_grad()
    def _sample(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> torch.Tensor:
        settings = self.run.reconstruction
        noise = initial_noise(
            self.generator.latent_shape, self.seed, keys, settings.initial_noise
        ).to(self.device)
        streams = step_streams(self.seed, keys) if settings.sampler == "ddpm" else None
        precision = settings.precision
        with autocast(self.device, precision), fast_attention(self.device, precision):
            condition = self.model.brain_module(
                [(subject, torch.from_numpy(windows).to(self.device))]
            )
            return sample(
                self.generator,
                condition,
                self.model.unconditional.to(condition.dtype),
                noise,
                settings.steps,
                settings.guidance_scale,
                streams,
            )


def load(model: Trained) -> DynadiffDecoder:
    """Read what stage `train` wrote, see :func:`load_stage`."""
    return load_stage(model, "train")


def load_stage(model: Trained, stage: str) -> DynadiffDecoder:
    """Read the parameters that a stage wrote.

    Raises
    ------
    UserError
        The model is damaged, or not of the parameters, of the sizes, that the settings ask for.
    """
    folder = model.folder / stage
    parameters, record = read_artefact(folder)
    frozen = load_generator(model.generators[model.run.generator]).to(model.device)
    with reading(folder / RECORD, "the record of a Dynadiff model", REMEDY):
        voxels, n_tr = dict(record["voxels"]), int(record["n_tr"])
    network = Dynadiff(voxels, n_tr, frozen, model.run)
    load_parameters(network.trained(), parameters, folder / PARAMETERS)
    return DynadiffDecoder(network, frozen, model.run, model.seed, model.device)
