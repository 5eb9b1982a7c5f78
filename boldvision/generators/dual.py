"""Versatile Diffusion with two conditions: one U-Net whose transformers see an image or a text.

Of the image U-Net everything counts; of the text U-Net, whose other layers are for latents of text,
the spatial transformers alone. They have the same places and names in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from boldvision import config
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.generators.base import (
    NETWORK_REMEDY,
    REMEDY,
    SIZES,
    WEIGHTS,
    latent_side,
    load_generator,
    read_json,
)
from boldvision.generators.properties import check

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler

SHARED = (
    "block_out_channels",
    "layers_per_block",
    "attention_head_dim",
    "norm_num_groups",
    "only_cross_attention",
    "use_linear_projection",
    "upcast_attention",
)
"""Sizes of a U-Net that make its spatial transformers: the same in both."""

FLAT = "UNetFlatConditionModel"
"""Class of the published text U-Net."""


class DualTransformer(nn.Module):
    """Two spatial transformers at one place of a U-Net, whose changes of its features are mixed."""

    def __init__(self, image: nn.Module, text: nn.Module):
        super().__init__()
        self.image, self.text = image, text

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        cross_attention_kwargs: dict,
        **unused: object,
    ) -> tuple[torch.Tensor]:
        """``h + (1 - s) (image(h) - h) + s (text(h) - h)``, called as diffusers calls either one.

        Parameters
        ----------
        hidden_states : Tensor, [B, channels, height, width]
        encoder_hidden_states : Tensor, [B, image tokens, width]
        cross_attention_kwargs : dict
            ``text_tokens`` [B, text tokens, width] and ``text_share``, a number.
        **unused
            Masks and classes that a U-Net without them passes as None.
        """
        text_tokens = cross_attention_kwargs["text_tokens"]
        share = cross_attention_kwargs["text_share"]
        if share == 0:
            return self.image(hidden_states, encoder_hidden_states, return_dict=False)
        if share == 1:
            return self.text(hidden_states, text_tokens, return_dict=False)
        (by_image,) = self.image(hidden_states, encoder_hidden_states, return_dict=False)
        (by_text,) = self.text(hidden_states, text_tokens, return_dict=False)
        return (by_image + share * (by_text - by_image),)


class DualUNet(nn.Module):
    """An image U-Net with a second transformer, for text, beside each of its own.

    Parameters
    ----------
    image_unet : UNet2DConditionModel
        Becomes a part of this network: its transformers are replaced by pairs.
    text : dict of str to Transformer2DModel
        By the name of the place, see :func:`transformers`.
    """

    def __init__(self, image_unet: UNet2DConditionModel, text: dict[str, Transformer2DModel]):
        super().__init__()
        for name, image in transformers(image_unet).items():
            image_unet.set_submodule(name, DualTransformer(image, text[name]))
        self.unet = image_unet

    def forward(
        self,
        noisy: torch.Tensor,
        t: torch.Tensor | int,
        image_tokens: torch.Tensor,
        text_tokens: torch.Tensor,
        text_share: float,
    ) -> torch.Tensor:
        """Noise in `noisy` latents [B, channels, height, width], of the same shape.

        Parameters
        ----------
        noisy : Tensor
        t : Tensor of int64, [B], or int
            Timesteps.
        image_tokens : Tensor, [B, tokens, width]
        text_tokens : Tensor, [B, tokens, width]
        text_share : float
            In [0, 1]. 0 leaves the image U-Net alone and computes no more than it.
        """
        both = {"text_tokens": text_tokens, "text_share": text_share}
        return self.unet(
            noisy,
            t,
            encoder_hidden_states=image_tokens,
            cross_attention_kwargs=both,
            return_dict=False,
        )[0]

    def halves(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Parameters of the image U-Net and the text's transformers, by published names."""
        image, text = {}, {}
        for name, value in self.unet.state_dict().items():
            place, is_text, key = name.partition(".text.")
            if is_text:
                text[f"{place}.{key}"] = value
            else:
                image[name.replace(".image.", ".")] = value
        return image, text


@dataclass
class DualGenerator:
    """A frozen latent diffusion model conditioned on tokens of an image and of a text."""

    settings: config.Generator
    unet: DualUNet
    vae: AutoencoderKL
    scheduler: DDIMScheduler

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a latent."""
        side = latent_side(self.settings, self.vae)
        return self.vae.config.latent_channels, side, side

    def to(self, device: torch.device | str) -> DualGenerator:
        """Move the networks to `device`."""
        self.unet.to(device)
        self.vae.to(device)
        return self


def load_dual_generator(settings: config.Generator) -> DualGenerator:
    """Read `image_unet`, `text_unet`, `vae` and `scheduler`, frozen, in float32.

    Of ``text_unet`` the file's parameters with ``.attentions.`` in their names are read, which are
    those of the image U-Net with the same names: ``down_blocks.0.attentions.1.norm.weight``,
    ``mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight``, ….

    Raises
    ------
    UserError
        See :func:`boldvision.generators.base.load_generator`.
    """
    generator = load_generator(settings)
    text = _text_transformers(Path(settings.folder) / "text_unet", generator.unet, settings)
    unet = DualUNet(generator.unet, text).requires_grad_(False).eval()
    return DualGenerator(settings, unet, generator.vae, generator.scheduler)


def transformers(unet: nn.Module) -> dict[str, Transformer2DModel]:
    """The spatial transformers of a U-Net, by name: ``down_blocks.0.attentions.0``, ...."""
    return {n: m for n, m in unet.named_modules() if isinstance(m, Transformer2DModel)}


def new_text_transformers(
    unet: UNet2DConditionModel, text_width: int
) -> dict[str, Transformer2DModel]:
    """Those of an image U-Net of the same sizes, for tokens of another width."""
    sizes = {**unet.config, "cross_attention_dim": text_width}
    return transformers(UNet2DConditionModel.from_config(sizes))


def _text_transformers(
    folder: Path, unet: UNet2DConditionModel, settings: config.Generator
) -> dict[str, Transformer2DModel]:
    assert settings.text_width, settings.kind
    stated = read_json(folder / "config.json", SIZES)
    expected = {name: unet.config[name] for name in SHARED}
    expected |= {"_class_name": FLAT, "cross_attention_dim": settings.text_width}
    check(folder / "config.json", stated, UNet2DConditionModel, expected, NETWORK_REMEDY)
    with torch.device("meta"):
        found = new_text_transformers(unet, settings.text_width)
    file = folder / WEIGHTS
    state = _attention_parameters(file)
    asked = {f"{name}.{key}" for name, module in found.items() for key in module.state_dict()}
    if wrong := sorted(asked ^ state.keys()):
        raise UserError(
            f"{file}: expected the parameters of the transformers of the image U-Net beside it, "
            f"found {len(asked - state.keys())} missing and {len(state.keys() - asked)} unknown, "
            f"such as {wrong[0]}; {REMEDY}"
        )
    with reading(file, f"transformers of the sizes that {folder}/config.json says", REMEDY):
        for name, module in found.items():
            own = {key: state[f"{name}.{key}"] for key in module.state_dict()}
            module.load_state_dict(own, assign=True)
    return found


def _attention_parameters(file: Path) -> dict[str, torch.Tensor]:
    """Those of a text U-Net's transformers, in float32; a file holds several times as much."""
    from safetensors import safe_open

    expected = "the parameters of a network of diffusers"
    with reading(file, expected, REMEDY), safe_open(file, "pt") as stored:
        names = [name for name in stored.keys() if ".attentions." in name]  # noqa: SIM118
        return {name: stored.get_tensor(name).float() for name in names}
