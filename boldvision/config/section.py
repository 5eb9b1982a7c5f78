"""What every part of the configuration has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def require(names: list[str], known: dict[str, Any], where: str, section: str) -> None:
    """Raise ValueError unless all `names` are in `known`, the entries of `section`."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"{where}: {name!r} is not in `{section}`, which has {', '.join(sorted(known))}"
            )
