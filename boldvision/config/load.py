"""From Snakemake's mapping to the validated configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from boldvision.config import Config
from boldvision.config.messages import messages
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
        wrong = "\n  ".join(messages(error))
        raise UserError(f"the configuration is wrong:\n  {wrong}") from None
