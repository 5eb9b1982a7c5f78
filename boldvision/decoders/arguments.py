"""What training and reconstruction are told, and how it is read."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic import Field

from boldvision import config, plugins
from boldvision.networks.settings import BaseNetwork


class Settings(config.Section):
    """What `--settings` of training and reconstruction says, beside the window or windows."""

    run: dict[str, Any]
    preprocessing: config.Preprocessing
    generators: dict[str, config.Generator]
    networks: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def network_settings(self) -> dict[str, BaseNetwork]:
        """Settings of the networks, validated by their kinds."""
        return {name: plugins.network_settings(values) for name, values in self.networks.items()}


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What training and reconstruction are told of settings, data and randomness."""
    parser.add_argument("--settings", required=True, help="JSON: run, generators, networks, …")
    parser.add_argument(
        "--data", required=True, help="JSON: trials, split, bold, images, targets, by subject"
    )
    parser.add_argument("--seed", type=int, default=0)
