"""What the configuration of a generator's part must say; diffusers takes a default for the rest."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boldvision.errors import UserError

NOISE_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""Of Stable and Versatile Diffusion, where it differs from the defaults of diffusers."""

UNUSED_BY_SAMPLERS = {"clip_sample_range", "sample_max_value", "dynamic_thresholding_ratio"}
"""Strengths of what is off."""

SCHEDULE_REMEDY = (
    "If the file was written for another sampler, such as PNDM, write what was expected into it "
    "and run again: a fetched folder is kept as it is. If the networks were trained on another "
    "schedule, take another generator"
)


def properties(kind: type, stated: Mapping[str, Any], unused: set[str]) -> dict[str, Any]:
    """All that a part's configuration comes to, but for what its code does not use here."""
    return {k: value for k, value in (defaults(kind) | dict(stated)).items() if k not in unused}


def defaults(kind: type) -> dict[str, Any]:
    """What diffusers takes for each key that the configuration of a part lacks."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def check(
    file: Path, stated: Mapping[str, Any], kind: type, expected: Mapping[str, Any], remedy: str
) -> None:
    """Refuse a part of another class, or with another value of a key than `expected`.

    Parameters
    ----------
    file : Path
        That the error names.
    stated : mapping
        What it says.
    kind : type
        Class of diffusers that reads it, whose defaults count where it says nothing.
    expected : mapping
        Value by key.
    remedy : str

    Raises
    ------
    UserError
        Names the file and each such key, what was expected and found, and what to do.
    """
    taken, wrong = defaults(kind), []
    for key, value in ({"_class_name": kind.__name__} | dict(expected)).items():
        found = stated.get(key, taken.get(key))
        if as_json(value) != as_json(found):
            there = "" if key in stated else "nothing, which diffusers reads as "
            wrong.append(f"{key}: expected {json.dumps(value)}, found {there}{json.dumps(found)}")
    if wrong:
        raise UserError(f"{file}: {'; '.join(wrong)}. {remedy}.")


def as_json(value: Any) -> Any:
    """A value as a file holds it: tuples are lists there."""
    return json.loads(json.dumps(value))
