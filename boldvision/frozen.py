"""Generators and networks of a configuration: where their files lie, shipped or fetched."""

from __future__ import annotations

from boldvision.config import Config, Generator
from boldvision.generators.base import parts
from boldvision.networks.settings import BaseNetwork
from boldvision.shipped import shipped

WEIGHTS = "diffusion_pytorch_model.safetensors"


def generator(config: Config, name: str) -> Generator:
    """Settings of a generator, with the folder that it ships in if it is not fetched."""
    settings = config.generators[name]
    if settings.repository:
        return settings
    return settings.model_copy(update={"folder": shipped(settings.folder)})


def generator_files(config: Config, name: str, *wanted: str) -> list[str]:
    """Its folder where a generator is fetched; where it ships, weights of parts, or of all."""
    settings = generator(config, name)
    if settings.repository:
        return [settings.folder]
    trained = [part for part in parts(settings.kind) if part != "scheduler"]
    return [f"{settings.folder}/{part}/{WEIGHTS}" for part in wanted or trained]


def network(config: Config, name: str) -> BaseNetwork:
    """Settings of a network, with the folder that it ships in if it is not fetched."""
    settings = config.network(name)
    if settings.files:
        return settings
    return settings.model_copy(update={"folder": shipped(settings.folder)})
