"""What the mean image costs: nothing but its file."""

from __future__ import annotations

from boldvision.costs import Picture, Sizes, Work
from boldvision.decoders.mean_image.settings import Run


def training(run: Run, sizes: Sizes) -> dict[str, Work]:
    """Average the training images: 3 values a pixel, float32."""
    return {"train": Work(bytes=4 * 3 * run.image_px**2)}


def picture(run: Run, sizes: Sizes) -> Picture:
    """The same for every window."""
    return Picture(px=run.image_px)
