"""A generator's networks without their weights, and the operations that they take, counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boldvision.config import Generator
from boldvision.flop import teraflop
from boldvision.shipped import shipped

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel


@dataclass(frozen=True)
class Operations:
    """Of one picture, 10^12.

    Attributes
    ----------
    unet
        One call of the U-Net.
    of_condition
        Keys and values of the condition in it, which stay the same from step to step.
    encode, decode
        Of the VAE.
    """

    unet: float
    of_condition: float
    encode: float
    decode: float


@cache
def operations(generator: Generator) -> Operations:
    """What the networks of a generator's image branch take."""
    import torch

    unet, vae, inputs = meta_unet(generator), meta_vae(generator), meta_inputs(generator)
    keys_and_values = sum(
        2 * layer.in_features * layer.out_features
        for name, layer in unet.named_modules()
        if name.endswith(("attn2.to_k", "attn2.to_v"))
    )
    with torch.device("meta"), torch.no_grad():
        picture = torch.empty(1, 3, generator.image_px, generator.image_px)
        return Operations(
            unet=teraflop(lambda: unet(**inputs)),
            of_condition=generator.tokens * keys_and_values / 1e12,
            encode=teraflop(lambda: vae.encode(picture)),
            decode=teraflop(lambda: vae.decode(inputs["sample"])),
        )


def meta_unet(generator: Generator) -> UNet2DConditionModel:
    """The image U-Net of a generator's size, frozen, without its weights."""
    import torch
    from diffusers import UNet2DConditionModel

    from boldvision.generators.base import full_size_unet_config

    with torch.device("meta"):
        sizes = _shipped(generator, "image_unet") or full_size_unet_config()
        return UNet2DConditionModel.from_config(sizes).requires_grad_(False)


def meta_vae(generator: Generator) -> AutoencoderKL:
    """Its VAE, likewise."""
    import torch
    from diffusers import AutoencoderKL

    from boldvision.generators.base import full_size_vae_config

    with torch.device("meta"):
        sizes = _shipped(generator, "vae") or full_size_vae_config()
        return AutoencoderKL.from_config(sizes).requires_grad_(False)


def meta_inputs(generator: Generator) -> dict[str, Any]:
    """Of the U-Net, for one picture."""
    import torch

    side = generator.image_px // 8
    with torch.device("meta"):
        return {
            "sample": torch.empty(1, 4, side, side),
            "timestep": torch.zeros(1, dtype=torch.int64),
            "encoder_hidden_states": torch.empty(1, generator.tokens, generator.width),
        }


def _shipped(generator: Generator, part: str) -> dict[str, Any] | None:
    """Sizes of a network of a tiny generator, which ships; None: they are published ones."""
    from diffusers import UNet2DConditionModel

    if not generator.kind.startswith("tiny"):
        return None
    folder = Path(shipped(generator.folder)) / part
    return UNet2DConditionModel.load_config(folder, local_files_only=True)
