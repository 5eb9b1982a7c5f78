"""The network with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from boldvision.networks.blank import random_state
from boldvision.networks.convnext.network import WEIGHTS, ConvNext
from boldvision.networks.convnext.settings import Network
from boldvision.networks.pretraining import save_half


def write(settings: Network, out: Path) -> None:
    """Write to folder `out` what `load` reads."""
    with torch.device("meta"):
        network = ConvNext(settings)
    save_half(random_state(network), out / WEIGHTS)
