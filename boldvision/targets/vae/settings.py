"""Settings of the target `vae`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from boldvision.config.runs import Generator
from boldvision.config.section import Name
from boldvision.targets.settings import BaseTarget

VAE_FACTOR, LATENT_CHANNELS = 8, 4
"""Of the KL-f8 autoencoders of both generators."""


class Target(BaseTarget):
    """Posteriors of a generator's VAE: the latents that diffusion starts from."""

    kind: Literal["vae"] = Field(description="a package of boldvision.targets")
    generator: Name = Field(description="a name of `generators`")

    def bytes_per_image(self, generators: Mapping[str, Generator]) -> float:
        """Mean and log-variance, float16."""
        side = generators[self.generator].image_px // VAE_FACTOR
        return 2 * LATENT_CHANNELS * side**2 * 2

    def generator_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.generator,)
