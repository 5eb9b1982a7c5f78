"""The published network with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from boldvision.networks.blank import random_state
from boldvision.networks.pretraining import save_half
from boldvision.networks.vdvae.network import CONFIG, WEIGHTS, Vdvae
from boldvision.networks.vdvae.settings import Network
from boldvision.networks.vdvae.sizes import FULL_SIZE


def write(settings: Network, out: Path) -> None:
    """Write to folder `out` what `load` reads."""
    with torch.device("meta"):
        network = Vdvae(FULL_SIZE)
    (out / CONFIG).write_text(FULL_SIZE.model_dump_json())
    save_half(random_state(network), out / WEIGHTS)
