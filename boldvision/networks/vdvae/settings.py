"""Settings of the network `vdvae`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from boldvision.networks.settings import BaseNetwork


class Network(BaseNetwork):
    """A very deep variational autoencoder; its sizes are those of ``config.json`` in its folder."""

    kind: Literal["vdvae"] = Field(description="a package of boldvision.networks")
    latents: int = Field(ge=1, le=10**7, description="numbers that stand for a picture")
    encode_teraflop: float = Field(
        gt=0, le=1e3, description="operations from a picture to these, 10^12"
    )
    decode_teraflop: float = Field(
        gt=0, le=1e3, description="operations from these to a picture, 10^12"
    )
