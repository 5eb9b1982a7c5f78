"""Settings of the network `autoencoder`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from boldvision.config.runs import Count, Pixels
from boldvision.networks.settings import BaseNetwork


class Network(BaseNetwork):
    """A KL-f8 autoencoder, with the parts of Stable Diffusion's."""

    kind: Literal["autoencoder"] = Field(description="a package of boldvision.networks")
    image_px: Pixels = Field(512, description="side of the pictures it sees, pixels")
    widths: tuple[Count, Count, Count, Count] = Field(
        (128, 256, 512, 512), description="channels of each block of encoder and decoder"
    )
