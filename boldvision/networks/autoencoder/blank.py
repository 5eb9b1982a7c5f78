"""The network with random weights."""

from __future__ import annotations

from pathlib import Path

from boldvision.networks.autoencoder.network import WEIGHTS, meta_autoencoder
from boldvision.networks.autoencoder.settings import Network
from boldvision.networks.blank import random_state
from boldvision.networks.pretraining import save_half


def write(settings: Network, out: Path) -> None:
    """Write to folder `out` what `load` reads."""
    save_half(random_state(meta_autoencoder(settings)), out / WEIGHTS)
