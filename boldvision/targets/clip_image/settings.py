"""Settings of the target `clip_image`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from boldvision.config.runs import Generator
from boldvision.config.section import Name
from boldvision.networks.clip.settings import clip_among
from boldvision.networks.settings import BaseNetwork
from boldvision.targets.settings import BaseTarget


class Target(BaseTarget):
    """Tokens that CLIP makes of an image, projected and divided by the norm of the first."""

    kind: Literal["clip_image"] = Field(description="a package of boldvision.targets")
    network: Name = Field(description="a name of `networks`, of kind clip")
    resize_via: int | None = Field(
        ge=16,
        le=4096,
        description="px: images are resized to this side by a bilinear filter, then by a bicubic "
        "one to CLIP's, as 8-bit images twice, as Brain-Diffuser did (512); null: at once, as "
        "numbers, as MindEye1 did",
    )

    def bytes_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """Tokens, float16."""
        clip = clip_among(networks, self.network)
        return 2 * clip.image_tokens * clip.width

    def teraflop_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """The transformer of images."""
        return clip_among(networks, self.network).image_teraflop

    def network_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.network,)
