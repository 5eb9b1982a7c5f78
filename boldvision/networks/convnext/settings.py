"""Settings of the network `convnext`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boldvision.config.runs import Count, Pixels
from boldvision.networks.convnext.stem import STEM_FACTOR
from boldvision.networks.settings import BaseNetwork

Stages = Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]


class Network(BaseNetwork):
    """A ConvNeXt with a projector of its last map (Liu et al. 2022; Bardes et al. 2022)."""

    kind: Literal["convnext"] = Field(description="a package of boldvision.networks")
    image_px: Pixels = Field(description="side of the pictures it sees, pixels")
    depths: Stages = Field(description="blocks of each stage")
    widths: Stages = Field(description="channels of each stage")
    width: Count = Field(description="channels of a token: of the projected map")

    @model_validator(mode="after")
    def _fits(self) -> Network:
        if len(self.depths) != len(self.widths):
            raise ValueError("`depths` and `widths` need one number for each stage")
        if self.image_px % self._factor():
            raise ValueError(f"`image_px`: expected a multiple of {self._factor()}")
        return self

    @property
    def side(self) -> int:
        """Tokens of a side of the last map."""
        return self.image_px // self._factor()

    def _factor(self) -> int:
        return STEM_FACTOR * 2 ** (len(self.widths) - 1)
