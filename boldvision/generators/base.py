"""Latent diffusion models: an image U-Net, a VAE and a noise schedule, as diffusers stores them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from boldvision import config
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.generators.properties import (
    NOISE_SCHEDULE,
    SCHEDULE_REMEDY,
    UNUSED_BY_SAMPLERS,
    check,
    properties,
)

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    N = TypeVar("N", UNet2DConditionModel, AutoencoderKL)

SIZES = "the sizes of a network of diffusers"
PARTS = ("image_unet", "vae", "scheduler")
"""Subfolders of every generator."""

DUAL = ("tiny_dual", "versatile_diffusion_dual")
"""Kinds with a text U-Net beside the image U-Net."""

TINY = ("tiny", "tiny_dual")
"""Kinds whose sizes are in their folder, not published."""

WEIGHTS = "diffusion_pytorch_model.safetensors"
REMEDY = (
    "remove the generator's folder and run again to fetch it anew, or correct `generators.….folder`"
)
NETWORK_REMEDY = (
    "Correct `kind`, `image_px`, `width` and `folder` of the generator in the configuration, or "
    "remove its folder and run again to fetch it anew"
)


@dataclass
class Generator:
    """A frozen latent diffusion model conditioned on tokens.

    Versatile Diffusion's *image* U-Net is enough: the text half of its dual U-Net is multiplied by
    zero when only images condition it.
    """

    settings: config.Generator
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: DDIMScheduler

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a latent."""
        side = latent_side(self.settings, self.vae)
        return self.vae.config.latent_channels, side, side

    def to(self, device: torch.device | str) -> Generator:
        """Move the networks to `device`."""
        self.unet.to(device)
        self.vae.to(device)
        return self


def load_generator(settings: config.Generator) -> Generator:
    """Read `image_unet`, `vae` and `scheduler` from ``settings.folder``, frozen, in float32.

    Raises
    ------
    UserError
        The folder lacks a part, a file of it is damaged or lacks parameters, or a property of a
        part is not the one that the configuration, or the generator's kind, asks for.
    """
    from diffusers import DDIMScheduler, UNet2DConditionModel

    vae = load_vae(settings)
    _check_settings(settings)
    folder = _part(settings, "scheduler")
    file = folder / "scheduler_config.json"
    stated = read_json(file, "a noise schedule of diffusers")
    schedule = properties(DDIMScheduler, NOISE_SCHEDULE, UNUSED_BY_SAMPLERS)
    check(file, stated, DDIMScheduler, schedule, SCHEDULE_REMEDY)
    with reading(file, "a noise schedule of diffusers", REMEDY):
        scheduler = DDIMScheduler.from_pretrained(folder, local_files_only=True)
    expected = _unet_properties(settings, vae)
    unet = _network(UNet2DConditionModel, _part(settings, "image_unet"), expected)
    return Generator(settings, unet, vae, scheduler)


def load_vae(settings: config.Generator) -> AutoencoderKL:
    """Read `vae` from ``settings.folder``, frozen, in float32.

    Raises
    ------
    UserError
        See :func:`load_generator`.
    """
    from diffusers import AutoencoderKL

    folder = _part(settings, "vae")
    vae = _network(AutoencoderKL, folder, _vae_properties(settings))
    file = folder / "config.json"
    scale = read_json(file, SIZES).get("scaling_factor")  # has a default, that of Stable Diffusion
    if settings.kind in TINY and not (isinstance(scale, float) and 0 < scale < math.inf):
        raise UserError(
            f"{file}: scaling_factor: expected the number that brings latents to a standard "
            f"deviation of 1, found {json.dumps(scale)}. {NETWORK_REMEDY}."
        )
    return vae


def parts(kind: str) -> tuple[str, ...]:
    """Subfolders that a generator of a kind is read from."""
    return (*PARTS, "text_unet") if kind in DUAL else PARTS


def _part(settings: config.Generator, name: str) -> Path:
    folder, expected = Path(settings.folder), parts(settings.kind)
    for part in expected:
        if not (folder / part).is_dir():
            raise UserError(
                f"{folder}: expected the folders {', '.join(expected)}, found no {part}. Fetch the "
                "generator with rule `download_generator`, or set `generators.….folder`."
            )
    return folder / name


def _check_settings(settings: config.Generator) -> None:
    """Refuse a picture or tokens of another size than the networks were trained on."""
    if settings.kind in TINY:
        return
    expected = {"image_px": 512, "tokens": 257, "width": 768}
    if settings.kind in DUAL:
        expected |= {"text_tokens": 77, "text_width": 768}
    for key, value in expected.items():
        if (found := getattr(settings, key)) != value:
            raise UserError(
                f"{settings.folder}: a generator of kind {settings.kind} is used with {key} "
                f"{value}, the configuration says {found}. Correct `generators.….{key}`."
            )


def latent_side(settings: config.Generator, vae: AutoencoderKL) -> int:
    """Height and width of a latent."""
    return settings.image_px // 2 ** (len(vae.config.block_out_channels) - 1)


def _vae_properties(settings: config.Generator) -> dict[str, Any]:
    """Of a tiny VAE, those that the configuration also says; the rest is in its parameters."""
    from diffusers import AutoencoderKL

    if settings.kind in TINY:
        return {"in_channels": 3, "out_channels": 3, "sample_size": settings.image_px}
    return properties(AutoencoderKL, full_size_vae_config(), {"sample_size", "force_upcast"})


def _unet_properties(settings: config.Generator, vae: AutoencoderKL) -> dict[str, Any]:
    """Of a tiny U-Net, those that the configuration and the VAE also say."""
    from diffusers import UNet2DConditionModel

    if settings.kind in TINY:
        channels, side = vae.config.latent_channels, latent_side(settings, vae)
        sizes = {"in_channels": channels, "out_channels": channels, "sample_size": side}
        return sizes | {"cross_attention_dim": settings.width}
    return properties(UNet2DConditionModel, full_size_unet_config(), {"sample_size"})


def read_json(file: Path, expected: str) -> dict[str, Any]:
    """A JSON object of a generator's folder.

    Raises
    ------
    UserError
        It is none; `expected` says what it should be.
    """
    with reading(file, expected, REMEDY):
        stated = json.loads(file.read_text())
        if not isinstance(stated, dict):
            raise ValueError("no JSON object")
    return stated


def _network(kind: type[N], folder: Path, expected: dict[str, Any]) -> N:
    """Read a network with these properties, whose file holds its parameters and no other.

    Diffusers draws those at random that a file lacks.
    """
    from safetensors import safe_open

    stated = read_json(folder / "config.json", SIZES)
    check(folder / "config.json", stated, kind, expected, NETWORK_REMEDY)
    file = folder / WEIGHTS
    with reading(file, "the parameters of a network of diffusers", REMEDY):
        safe_open(file, "pt")  # says what is wrong with a file more plainly than diffusers
        network, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    if other := sorted(found["missing_keys"]) + sorted(found["unexpected_keys"]):
        raise UserError(
            f"{file}: expected the parameters that config.json beside it asks for, found "
            f"{len(found['missing_keys'])} missing and {len(found['unexpected_keys'])} unknown, "
            f"such as {other[0]}; {REMEDY}"
        )
    return network.float().requires_grad_(False).eval()


def full_size_unet_config() -> dict:
    """Sizes of Versatile Diffusion's image U-Net (859.5 M parameters)."""
    return {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }


def full_size_vae_config() -> dict:
    """Sizes of Versatile Diffusion's KL-f8 autoencoder (83.7 M parameters)."""
    return {
        "sample_size": 512,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
