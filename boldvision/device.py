"""Where to compute."""

from __future__ import annotations


def best_device() -> str:
    """``cuda`` if a card is visible, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
