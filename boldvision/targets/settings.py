"""What every target's settings have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from boldvision.config.runs import Generator
from boldvision.config.section import Name, Section
from boldvision.networks.settings import BaseNetwork


class BaseTarget(Section):
    """Settings of a frozen network that turns images into what a decoder is trained to predict."""

    kind: Name = Field(description="a package of boldvision.targets")

    captions: ClassVar[bool] = False
    """Whether the network reads the captions of images."""

    @abstractmethod
    def bytes_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """Size on disk of what it makes of one image, with the generators and networks it names."""

    def teraflop_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """Operations that this takes, 10^12 (`boldvision.flop`)."""
        return 0.0

    def generator_names(self) -> tuple[str, ...]:
        """Entries of `generators` that it uses."""
        return ()

    def network_names(self) -> tuple[str, ...]:
        """Entries of `networks` that it uses."""
        return ()

    def downloads(self) -> tuple[str, ...]:
        """Files that rules of its own fetch from a network, beside data and generators."""
        return ()
