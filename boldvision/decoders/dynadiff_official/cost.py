"""What the official weights cost: a file, and pictures like any Dynadiff's."""

from __future__ import annotations

from boldvision.costs import Sizes, Work
from boldvision.decoders.dynadiff.cost import picture, trained_parameters
from boldvision.decoders.dynadiff_official.settings import Run

__all__ = ["picture", "training"]


def training(run: Run, sizes: Sizes) -> dict[str, Work]:
    """Nothing is trained: a minute of one core, which is not counted."""
    return {"convert": Work(bytes=4 * trained_parameters(run, sizes))}
