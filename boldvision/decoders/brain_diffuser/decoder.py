"""Make pictures with trained regressions: from latents a first one, from tokens what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image

from boldvision.decoders.base import Trained
from boldvision.decoders.brain_diffuser.prediction import Regressions
from boldvision.device import autocast, fast_attention, hold_frozen
from boldvision.errors import UserError
from boldvision.generators import image_to_image
from boldvision.generators.decode import decode_latents
from boldvision.generators.dual import DualGenerator, load_dual_generator
from boldvision.generators.images import resized, to_tensor
from boldvision.generators.sampler import initial_noise
from boldvision.networks.clip.network import Clip
from boldvision.networks.clip.network import load as load_clip
from boldvision.networks.vdvae.network import Vdvae
from boldvision.networks.vdvae.network import load as load_vdvae
from boldvision.seeds import derive

ADAPTED = {
    "flatten": "our adaptation to windows: features are all of their samples",
    "mean": "our adaptation to windows: features are their mean over time",
}
"""Label, by `ridge.time`: Brain-Diffuser was published for one sample per trial."""


class BrainDiffuser:
    """Trained regressions, and the networks that make pictures of what they predict."""

    def __init__(
        self,
        regressions: Regressions,
        vdvae: Vdvae,
        clip: Clip,
        generator: DualGenerator,
        model: Trained,
    ):
        self.regressions, self.vdvae, self.generator = regressions, vdvae, generator
        self.how, self.seed, self.device = model.run.reconstruction, model.seed, model.device
        weights = [generator.settings.label, *(each.label for each in model.networks.values())]
        self.label = "; ".join(filter(None, [ADAPTED[model.run.ridge.time], *weights]))
        self.without = without_content(clip)
        self.rows: dict[bytes, int] = {}
        for network in (generator.unet, generator.vae):
            hold_frozen(network, self.how.precision)

    def look_at(self, windows: Iterable[np.ndarray], subject: str) -> None:
        """See :class:`boldvision.decoders.base.TransductiveDecoder`.

        Training windows and targets are read once for all windows of a test set.
        """
        bold = np.concatenate(list(windows))
        self.rows = {_name(window): row for row, window in enumerate(bold)}
        self.predicted = self.regressions.predict(bold)

    def reconstruct(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.Decoder`."""
        how = self.how
        return decode_latents(
            self.generator.vae,
            self._sample(windows, keys),
            how.precision,
            how.rounding,
            how.blur_faces,
        )

    def latents(self, windows: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
        """See :class:`boldvision.decoders.base.LatentDecoder`."""
        return self._sample(windows, keys).cpu().numpy().astype(np.float16)

    def first_pictures(self, latents: torch.Tensor, keys: Sequence[int]) -> np.ndarray:
        """What the VDVAE makes of predicted latents [N, latents], uint8 [N, px, px, 3].

        Resized to the generator's pictures by PIL's bicubic filter.
        """
        streams = [torch.Generator().manual_seed(derive(self.seed, "vdvae", key)) for key in keys]
        px, bicubic = self.generator.settings.image_px, Image.Resampling.BICUBIC
        pictures = self.vdvae.decode(latents, streams).cpu().numpy()
        return resized(pictures, px, bicubic)

    @torch.no_grad()
    def _sample(self, windows: np.ndarray, keys: Sequence[int]) -> torch.Tensor:
        """Latents [N, channels, h, w], as the VAE encodes."""
        how, generator = self.how, self.generator
        latents, image, text = self._predictions(windows).values()
        tokens = self._both_ways(image, text)
        first = to_tensor(self.first_pictures(latents, keys), generator.settings.image_px)
        noise = initial_noise(generator.latent_shape, self.seed, keys).to(self.device)

        def predict(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return generator.unet(noisy, t, *tokens, how.text_share)

        with autocast(self.device, how.precision):
            start = image_to_image.encode(generator.vae, first.to(self.device), self.seed, keys)
        with autocast(self.device, how.precision), fast_attention(self.device, how.precision):
            return image_to_image.ddim(
                generator,
                predict,
                start.float(),
                noise,
                how.steps,
                how.strength,
                how.guidance_scale,
            )

    def _predictions(self, windows: np.ndarray) -> dict[str, torch.Tensor]:
        """Of windows that were looked at, float32 [N, dimensions] each."""
        try:
            rows = [self.rows[_name(window)] for window in windows]
        except KeyError:
            raise UserError(
                "brain_diffuser: expected windows of the test set that was looked at, found "
                "others; pass all of them to `look_at` first"
            ) from None
        return {key: values[rows].to(self.device) for key, values in self.predicted.items()}

    def _both_ways(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """Tokens [2 N, tokens, width] of an image and of a text: without content, then given."""
        return [
            torch.cat([empty.expand(len(values), -1, -1), values.reshape(-1, *empty.shape)])
            for empty, values in zip(self.without, given, strict=True)
        ]


@torch.no_grad()
def without_content(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    """CLIP's tokens [tokens, width] of a grey image and of no words."""
    grey = torch.full((1, 3, clip.image_px, clip.image_px), 0.5)
    pixels = clip.pixels(grey).to(next(clip.parameters()).device)
    return clip.image_tokens(pixels)[0], clip.text_tokens([""])[0]


def load(model: Trained) -> BrainDiffuser:
    """Read what stage `ridge` wrote, training windows and targets, and the networks."""
    run, device = model.run, model.device
    vdvae = load_vdvae(model.networks[run.vdvae]).to(device)
    clip = load_clip(model.networks[run.clip]).to(device)
    generator = load_dual_generator(model.generators[run.generator]).to(device)
    return BrainDiffuser(Regressions(model), vdvae, clip, generator, model)


def _name(window: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(window).data).digest()
