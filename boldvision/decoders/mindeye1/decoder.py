"""Make pictures with a trained MindEye1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.base import Trained
from boldvision.decoders.mindeye1.candidates import nearest
from boldvision.decoders.mindeye1.low_level_network import LowLevelNetwork
from boldvision.decoders.mindeye1.network import MindEye
from boldvision.decoders.mindeye1.prior import Diffusion
from boldvision.decoders.mindeye1.settings import Run
from boldvision.decoders.record import PARAMETERS, RECORD, REMEDY
from boldvision.device import autocast, fast_attention, hold_frozen
from boldvision.files import reading
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.decode import decode_values
from boldvision.generators.image_to_image import encode, unipc
from boldvision.generators.images import to_uint8
from boldvision.generators.sampler import initial_noise
from boldvision.networks.clip.network import MEAN, STD, Clip
from boldvision.networks.clip.network import load as load_clip
from boldvision.parameters import load_parameters
from boldvision.seeds import derive

LEAST_NORM = 1e-6
"""Added to the norm that sampled tokens are divided by."""


class MindEye1Decoder:
    """A trained model, ready to reconstruct.

    Parameters
    ----------
    high_level : MindEye
    low_level : LowLevelNetwork or None
        None: pictures begin with noise.
    generator : Generator
    clip : Clip
    run : Run
    seed : int
    device : str
    label : str
    """

    def __init__(
        self,
        high_level: MindEye,
        low_level: LowLevelNetwork | None,
        generator: Generator,
        clip: Clip,
        run: Run,
        seed: int,
        device: str,
        label: str,
    ):
        self.brain, self.prior = high_level.brain, high_level.prior
        self.low_level, self.generator, self.clip = low_level, generator, clip
        self.settings, self.seed, self.device, self.label = run.reconstruction, seed, device, label
        self.diffusion = Diffusion(run.high_level.prior.steps, self.prior.width)
        for network in filter(None, (high_level, low_level, clip)):
            network.to(device).eval().requires_grad_(False)
        for network in (generator.unet, generator.vae):
            hold_frozen(network.to(device), self.settings.precision)

    @torch.no_grad()
    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.Decoder`."""
        bold = torch.from_numpy(windows).to(self.device)
        tokens, compared = self.brain(bold)
        start = None if self.low_level is None else self._begin(self.low_level.latents(bold), keys)
        made = (self._picture(tokens, start, keys, n) for n in range(self.settings.candidates))
        if self.settings.candidates == 1:
            return to_uint8(next(made))
        return to_uint8(nearest(made, compared, self._tokens_of))

    def _begin(self, latents: Tensor, keys: Sequence[int]) -> Tensor:
        """Latents of the blurry picture that predicted ones are decoded to.

        As released, the picture is normalised for CLIP before it is encoded, which is a mistake.
        """
        vae, settings = self.generator.vae, self.settings
        picture = decode_values(vae, latents, settings.precision)
        if settings.blurry == "clip_normalised":
            mean, std = (picture.new_tensor(values)[:, None, None] for values in (MEAN, STD))
            picture = (picture / 2 + 0.5 - mean) / std
        with autocast(self.device, settings.precision):
            return encode(vae, picture, self.seed, keys).float()

    def _picture(
        self, tokens: Tensor, start: Tensor | None, keys: Sequence[int], candidate: int
    ) -> Tensor:
        """A candidate of each window, float [B, 3, px, px], about [-1, 1].

        All that is random in it comes from the window's key and the candidate's number.
        """
        settings, generator = self.settings, self.generator
        seed = derive(self.seed, "candidate", candidate)
        streams = [torch.Generator().manual_seed(derive(seed, "prior", key)) for key in keys]
        image = self.diffusion.sample(self.prior, tokens, streams)
        image = image / (image[:, :1].norm(dim=-1, keepdim=True) + LEAST_NORM)
        condition = torch.cat([torch.zeros_like(image), image])

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            return generator.unet(noisy, t, encoder_hidden_states=condition).sample

        noise = initial_noise(generator.latent_shape, seed, keys).to(self.device)
        how = settings.steps, settings.strength, settings.guidance_scale
        precision = settings.precision
        with autocast(self.device, precision), fast_attention(self.device, precision):
            latents = unipc(generator, predict, start, noise, *how)
        return decode_values(generator.vae, latents, precision)

    def _tokens_of(self, pictures: Tensor) -> Tensor:
        return self.clip.image_tokens(self.clip.pixels((pictures / 2 + 0.5).clamp(0, 1)))


def load(model: Trained) -> MindEye1Decoder:
    """Read what the stages wrote, and the frozen networks.

    Raises
    ------
    UserError
        A file is damaged, or not of the sizes that the settings ask for.
    """
    run: Run = model.run
    generator = load_generator(model.generators[run.generator])
    networks: list[Any] = [model.networks[run.clip]]
    high_level = _trained(model.folder / "high_level", _high_level, run)
    low_level = None
    if run.reconstruction.low_level:
        low_level = _trained(model.folder / "low_level", _low_level, run)
        networks.append(model.networks[run.teacher])
    labels = [generator.settings.label, *(network.label for network in networks)]
    label = "; ".join(filter(None, dict.fromkeys(labels)))
    clip, device = load_clip(networks[0]), model.device
    return MindEye1Decoder(high_level, low_level, generator, clip, run, model.seed, device, label)


def _trained(folder: Path, build: Any, run: Run) -> Any:
    """A network with the parameters that a stage wrote to `folder`."""
    parameters, record = read_artefact(folder)
    with reading(folder / RECORD, "the record of a MindEye1 model", REMEDY):
        network = build(record, run)
    load_parameters(network.trained(), parameters, folder / PARAMETERS)
    return network


def _high_level(record: dict[str, Any], run: Run) -> MindEye:
    tokens, width = record["tokens"]
    return MindEye(int(record["inputs"]), int(tokens), int(width), run.high_level)


def _low_level(record: dict[str, Any], run: Run) -> LowLevelNetwork:
    return LowLevelNetwork(int(record["inputs"]), int(record["width"]), run.low_level)
