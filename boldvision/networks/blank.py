"""Random parameters for a network that is not there: for those who ask how fast it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boldvision.device import best_device
from boldvision.seeds import derive

STD = 0.02
"""Small enough that nothing overflows on the way."""


def random_state(network: nn.Module) -> dict[str, Tensor]:
    """Parameters by the names and shapes of `network`, which may be on the meta device."""
    device = best_device()  # a card takes no time for 400 million
    random = torch.Generator(device).manual_seed(derive(0, "benchmark", "network"))
    return {
        name: STD * torch.randn(value.shape, generator=random, device=device)
        for name, value in network.state_dict().items()
    }
