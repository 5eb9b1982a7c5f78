"""Settings of the target `vae`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from boldvision.config.runs import Generator
from boldvision.config.section import Name
from boldvision.networks.settings import BaseNetwork
from boldvision.targets.settings import BaseTarget

VAE_FACTOR, LATENT_CHANNELS = 8, 4
"""Of the KL-f8 autoencoders of both generators, and of the network `autoencoder`."""


class Target(BaseTarget):
    """Posteriors of an autoencoder, a generator's VAE or one of its own: latents of pictures."""

    kind: Literal["vae"] = Field(description="a package of boldvision.targets")
    generator: Name | None = Field(None, description="a name of `generators`, whose VAE it is")
    network: Name | None = Field(None, description="or a name of `networks`, of kind autoencoder")

    @model_validator(mode="after")
    def _has_one(self) -> Target:
        if (self.generator is None) == (self.network is None):
            raise ValueError("expected a `generator` or a `network`, one of them; correct it")
        return self

    def bytes_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """Mean and log-variance, float16."""
        side = self._source(generators, networks).image_px // VAE_FACTOR
        return 2 * LATENT_CHANNELS * side**2 * 2

    def teraflop_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """The encoder."""
        from boldvision.generators.sizes import operations  # which imports torch's packages

        if self.generator:
            return operations(generators[self.generator]).encode
        from boldvision.networks.autoencoder.network import encoding

        return encoding(self._source(generators, networks))

    def generator_names(self) -> tuple[str, ...]:
        """Its only one, if it has one."""
        return (self.generator,) if self.generator else ()

    def network_names(self) -> tuple[str, ...]:
        """Likewise."""
        return (self.network,) if self.network else ()

    def _source(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> Any:
        return generators[self.generator] if self.generator else networks[self.network or ""]
