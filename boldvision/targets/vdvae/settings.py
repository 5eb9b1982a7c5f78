"""Settings of the target `vdvae`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from boldvision.config.runs import Generator
from boldvision.config.section import Name, Seed
from boldvision.errors import UserError
from boldvision.networks.settings import BaseNetwork
from boldvision.networks.vdvae.settings import Network
from boldvision.targets.settings import BaseTarget


class Target(BaseTarget):
    """Latents of the first blocks of a very deep VAE, drawn from their posterior."""

    kind: Literal["vdvae"] = Field(description="a package of boldvision.targets")
    network: Name = Field(description="a name of `networks`, of kind vdvae")
    seed: Seed = Field(0, description="of the draw from the posterior, with the id of the image")

    def bytes_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """Latents, float16."""
        return 2 * self.chosen(networks).latents

    def teraflop_per_image(
        self, generators: Mapping[str, Generator], networks: Mapping[str, BaseNetwork]
    ) -> float:
        """The encoder, and the first blocks of the decoder."""
        return self.chosen(networks).encode_teraflop

    def network_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.network,)

    def chosen(self, networks: Mapping[str, BaseNetwork]) -> Network:
        """Settings of its network.

        Raises
        ------
        UserError
            It is of another kind.
        """
        network = networks[self.network]
        if not isinstance(network, Network):
            raise UserError(
                f"networks.{self.network}: expected a network of kind vdvae, found one of "
                f"{network.kind}; correct `network` of the target"
            )
        return network
