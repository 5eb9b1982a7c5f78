"""What training and reconstruction are told, and how it is read."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic import TypeAdapter

from boldvision import config
from boldvision.cli import settings_from


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What training and reconstruction are told of settings, data and randomness."""
    parser.add_argument(
        "--settings", required=True, help="JSON: run, generators, preprocessing, window(s)"
    )
    parser.add_argument(
        "--data", required=True, help="JSON: trials, bold, images, targets, by subject"
    )
    parser.add_argument("--seed", type=int, default=0)


def settings_of(arguments: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Their settings, with the keys that both need and some more."""
    return settings_from(arguments.settings, "run", "preprocessing", "generators", *more)


def generators(settings: dict[str, Any]) -> dict[str, config.Generator]:
    """The generators of a run, by name."""
    return TypeAdapter(dict[str, config.Generator]).validate_python(settings["generators"])


def preprocessing(settings: dict[str, Any]) -> config.Preprocessing:
    """How the series of a run were prepared."""
    return TypeAdapter(config.Preprocessing).validate_python(settings["preprocessing"])
