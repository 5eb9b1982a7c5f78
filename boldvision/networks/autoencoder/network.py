"""A KL-f8 autoencoder as diffusers has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from boldvision.files import reading
from boldvision.flop import teraflop
from boldvision.generators.base import full_size_vae_config
from boldvision.networks.autoencoder.settings import Network

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WEIGHTS = "model.safetensors"


def load(settings: Network) -> AutoencoderKL:
    """The network of ``settings.folder``, frozen, in float32.

    Raises
    ------
    UserError
        Its file is missing, damaged, or of a network of other sizes.
    """
    path, network = Path(settings.folder) / WEIGHTS, meta_autoencoder(settings)
    with reading(
        path,
        "the parameters of a KL-f8 autoencoder",
        "remove the folder and run again to fetch it anew, or correct `networks` in the "
        "configuration",
    ):
        state = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def meta_autoencoder(settings: Network) -> AutoencoderKL:
    """The network without its weights."""
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        return AutoencoderKL(**full_size_vae_config() | {"block_out_channels": settings.widths})


def encoding(settings: Network) -> float:
    """Operations that the encoding of a picture takes, 10^12."""
    network = meta_autoencoder(settings)
    with torch.device("meta"), torch.no_grad():
        picture = torch.empty(1, 3, settings.image_px, settings.image_px)
        return teraflop(lambda: network.encode(picture))
