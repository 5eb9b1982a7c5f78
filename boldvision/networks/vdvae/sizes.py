"""Sizes of a very deep VAE: how many blocks at which side, and how wide they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Annotated

from pydantic import Field, model_validator

from boldvision.config.section import Section

LAYER = r"[1-9]\d{0,2}[xdm][1-9]\d?"
Positive = Annotated[int, Field(gt=0, le=4096)]
Layers = Annotated[str, Field(pattern=rf"^{LAYER}(,{LAYER})*$", max_length=1000)]


@dataclass(frozen=True)
class Layer:
    """One block: of a map of `side`, averaged by `pool` behind it, or with `source` added before.

    Attributes
    ----------
    side : int
        Of the map that the block reads.
    pool : int
        By how much the map is averaged down after the block; 1: not at all.
    source : int or None
        Side of the coarser map that is enlarged and added before the block.
    """

    side: int
    pool: int = 1
    source: int | None = None


class Sizes(Section):
    """Of an encoder and a decoder, as ``config.json`` says them.

    In `encoder` and `decoder`, ``RxN`` are N blocks at side R; ``RdK`` is one followed by averaging
    over K x K; ``RmS`` is one to which the map of side S is added first.
    """

    image_px: Positive
    width: Positive
    middle: Positive
    zdim: Positive
    mixtures: Positive
    encoder: Layers
    decoder: Layers
    latent_blocks: Positive
    """Blocks of the decoder, from the first, whose latents stand for a picture."""

    @model_validator(mode="after")
    def _fit(self) -> Sizes:
        side, seen = self.image_px, set()
        for layer in self.encoder_layers():
            if layer.side != side or side % layer.pool:
                raise ValueError(f"`encoder`: a block at {layer.side} does not fit {side}")
            side //= layer.pool
            seen.add(side)
        for layer in self.decoder_layers():
            source = layer.source or layer.side
            if {layer.side, source} - seen or layer.side % source:
                raise ValueError(f"`decoder`: a block at {layer.side} does not fit the encoder")
        if layer.side != self.image_px:
            raise ValueError(f"`decoder`: it ends at {layer.side}, not `image_px`")
        if self.latent_blocks > len(self.decoder_layers()):
            raise ValueError("`latent_blocks`: more than there are")
        return self

    def encoder_layers(self) -> list[Layer]:
        """Blocks of the encoder, in their order."""
        return _layers(self.encoder)

    def decoder_layers(self) -> list[Layer]:
        """Blocks of the decoder, in their order."""
        return _layers(self.decoder)

    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, H, W) of the latents of each of the first blocks."""
        first = self.decoder_layers()[: self.latent_blocks]
        return [(self.zdim, layer.side, layer.side) for layer in first]

    def latents(self) -> int:
        """How many numbers stand for a picture."""
        return sum(map(prod, self.latent_shapes()))


def _layers(text: str) -> list[Layer]:
    layers = []
    for side, kind, number in re.findall(r"(\d+)([xdm])(\d+)", text):
        if kind == "x":
            layers += [Layer(int(side))] * int(number)
        elif kind == "d":
            layers.append(Layer(int(side), pool=int(number)))
        else:
            layers.append(Layer(int(side), source=int(number)))
    return layers


FULL_SIZE = Sizes(
    image_px=64,
    width=512,
    middle=128,
    zdim=16,
    mixtures=10,
    encoder="64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5",
    decoder="1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12",
    latent_blocks=31,
)
"""Of the published network for ImageNet at 64 px, and the blocks that Brain-Diffuser predicts."""
