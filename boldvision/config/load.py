"""From Snakemake's mapping to the validated configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from boldvision.config import Config
from boldvision.errors import UserError


def load_config(values: Mapping[str, Any]) -> Config:
    """Validate Snakemake's `config`.

    Raises
    ------
    UserError
        A key is unknown, missing or wrong; every one is named.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        lines = "".join(f"\n  {_located(e['loc'], e['msg'])}" for e in error.errors())
        raise UserError(f"the configuration is wrong:{lines}") from None


def _located(place: tuple[Any, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")  # pydantic's, of errors raised in config.py
    return f"{'.'.join(map(str, place))}: {message}" if place else message
