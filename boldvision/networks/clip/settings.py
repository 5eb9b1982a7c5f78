"""Settings of the network `clip`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from boldvision.errors import UserError
from boldvision.networks.settings import BaseNetwork


class Network(BaseNetwork):
    """A CLIP of two transformers; their sizes are those of ``config.json`` in its folder."""

    kind: Literal["clip"] = Field(description="a package of boldvision.networks")
    image_tokens: int = Field(ge=2, le=10_000, description="of an image, that of the class first")
    text_tokens: int = Field(ge=2, le=10_000, description="of a text, filled up to this length")
    width: int = Field(ge=1, le=10_000, description="numbers of a token")
    image_teraflop: float = Field(gt=0, le=1e3, description="operations of an image, 10^12")
    text_teraflop: float = Field(gt=0, le=1e3, description="operations of a text, 10^12")


def clip_among(networks: Mapping[str, BaseNetwork], name: str) -> Network:
    """The network of that name.

    Raises
    ------
    UserError
        It is of another kind.
    """
    network = networks[name]
    if not isinstance(network, Network):
        raise UserError(
            f"networks.{name}: expected the kind clip, found {network.kind}; correct it, or name "
            "another network in the target or run"
        )
    return network
