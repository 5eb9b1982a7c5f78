"""Latent diffusion models: an image U-Net, a VAE and a noise schedule, as diffusers stores them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from boldvision import config
from boldvision.errors import UserError
from boldvision.files import reading

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    N = TypeVar("N", UNet2DConditionModel, AutoencoderKL)

PARTS = ("image_unet", "vae", "scheduler")
WEIGHTS = "diffusion_pytorch_model.safetensors"
REMEDY = (
    "remove the generator's folder and run again to fetch it anew, or correct `generators.….folder`"
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
        side = self.settings.image_px // 2 ** (len(self.vae.config.block_out_channels) - 1)
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
        The folder lacks a part, a file of it is damaged or lacks parameters, or its sizes are not
        those of the configuration.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    folder = Path(settings.folder)
    for part in PARTS:
        if not (folder / part).is_dir():
            raise UserError(
                f"{folder}: expected the folders {', '.join(PARTS)}, found no {part}. Fetch the "
                "generator with rule `download_generator`, or set `generators.….folder`."
            )
    unet = _network(UNet2DConditionModel, folder / "image_unet").float()
    vae = _network(AutoencoderKL, folder / "vae").float()
    file = folder / "scheduler" / "scheduler_config.json"
    _check_json(file, "a noise schedule of diffusers")
    with reading(file, "a noise schedule of diffusers", REMEDY):
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    if unet.config.cross_attention_dim != settings.width:
        raise UserError(
            f"{folder}/image_unet: condition tokens are {unet.config.cross_attention_dim} wide, "
            f"the configuration says {settings.width}. Correct `generators.….width`."
        )
    for network in (unet, vae):
        network.requires_grad_(False).eval()
    return Generator(settings, unet, vae, scheduler)


def _check_json(file: Path, expected: str) -> None:
    with reading(file, expected, REMEDY):
        if not isinstance(json.loads(file.read_text()), dict):
            raise ValueError("no JSON object")


def _network(kind: type[N], folder: Path) -> N:
    """Read a network whose file holds its parameters, all of them and no other.

    Diffusers draws those at random that a file lacks.
    """
    from safetensors import safe_open

    _check_json(folder / "config.json", "the sizes of a network of diffusers")
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
    return network


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
