"""Settings of the target `clip_text`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from boldvision.config.runs import Generator
from boldvision.config.section import Name
from boldvision.networks.clip.settings import clip_among
from boldvision.networks.settings import BaseNetwork
from boldvision.targets.settings import BaseTarget


class Target(BaseTarget):
    """Mean of the tokens that CLIP makes of an image's captions, each divided by its norm."""

    kind: Literal["clip_text"] = Field(description="a package of boldvision.targets")
    network: Name = Field(description="a name of `networks`, of kind clip")
    at_most: int = Field(5, ge=1, le=100, description="captions of an image that are averaged")

    captions: ClassVar[bool] = True

    def bytes_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """Tokens, float16."""
        clip = clip_among(networks, self.network)
        return 2 * clip.text_tokens * clip.width

    def teraflop_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """The transformer of texts, once for each caption."""
        return self.at_most * clip_among(networks, self.network).text_teraflop

    def network_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.network,)
