"""What every part of the configuration has in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

T = TypeVar("T")

LONGEST_TEXT = 1000
"""Of a path or a label, characters."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_truth_values(cls, values: Any) -> Any:
        given = values if isinstance(values, dict) else {}
        for key, field in cls.model_fields.items():
            if isinstance(given.get(key), bool) and field.annotation is not bool:
                found = str(given[key]).lower()
                raise ValueError(f"`{key}`: found {found}, as YAML reads yes, no, on and off")
        return values


def distinct(values: Sequence[T]) -> Sequence[T]:
    """Raise ValueError if anything is listed twice."""
    twice = sorted({str(value) for value in values if list(values).count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: listed twice; expected each once")
    return values


NAME = "^[a-z][a-z0-9_]*$"
WINDOW = "^[a-z][a-z0-9_]*([+-][0-9]{1,3})?$"
WORD = "^[A-Za-z0-9][A-Za-z0-9_.-]*$"
PLACE = r"^[^{}\x00-\x1f\x7f-][^{}\x00-\x1f\x7f]*$"
TEXT = r"^[^\x00-\x1f\x7f]*$"
REPOSITORY = "^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$"
SHA256 = "^[0-9a-f]{64}$"
URL = r"^https://[^\s'\"{}\x00-\x1f\x7f]+$"

Name = Annotated[str, Field(pattern=NAME, max_length=64, json_schema_extra={"format": "name"})]
"""What the configuration names: a part of paths and commands, so only a-z, 0-9 and _."""

WindowName = Annotated[
    str, Field(pattern=WINDOW, max_length=64, json_schema_extra={"format": "window"})
]
"""A name of `windows`, or one shifted by TRs: ``main+2``."""

Word = Annotated[str, Field(pattern=WORD, max_length=200)]
"""A name that others gave: of a folder of the bucket, a version."""

Place = Annotated[
    str, Field(pattern=PLACE, max_length=LONGEST_TEXT, json_schema_extra={"format": "path"})
]
"""A file or folder; a brace would be a wildcard of Snakemake's, a dash in front an option."""

Text = Annotated[str, Field(pattern=TEXT, max_length=LONGEST_TEXT)]
"""One line that is shown."""

Shift = Annotated[int, Field(ge=-225, le=225)]
"""Of a window, TRs: within a run of 225 volumes."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]

Distinct = Annotated[list[T], AfterValidator(distinct)]
"""A list without repetitions."""

Metric = Annotated[
    Literal[
        "ssim",
        "pixcorr",
        "alexnet_2",
        "alexnet_5",
        "clip",
        "inception",
        "efficientnet",
        "swav",
        "miou",
        "dreamsim",
    ],
    Field(json_schema_extra={"format": "metric"}),
]
"""The names of ``boldvision.metrics.measures.MEASURES``."""


def require(names: Sequence[str], known: Collection[str], where: str, section: str) -> None:
    """Raise ValueError unless all `names` are in `known`, the entries of `section`."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"{where}: {name!r} is not in `{section}`, which has {', '.join(sorted(known))}"
            )
