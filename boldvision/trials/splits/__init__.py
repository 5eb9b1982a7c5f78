"""Splits, found by their modules: split ``standard`` is ``boldvision.trials.splits.standard``.

Such a module has a function ``split`` from the trial table of a subject to ``train``, ``test`` or
``excluded`` for each of its trials. What else it needs are its keywords, of `KEYWORDS`: a split is
made anew, and its models are trained again, if one of these changes, and for no other setting.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boldvision.errors import UserError

KEYWORDS = ("subject", "test_runs", "seed")
"""The subject's name, ``time_resolved_test_runs`` and ``data_seed`` of the configuration."""


def names() -> list[str]:
    """All splits."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_.]*.py"))


def find(name: str) -> Callable[..., Any]:
    """The function of a split.

    Raises
    ------
    UserError
        There is no such split, or its module has no such function.
    """
    if name not in names():
        raise UserError(f"split {name!r}: expected one of {', '.join(names())}")
    split = getattr(importlib.import_module(f"{__name__}.{name}"), "split", None)
    if split is None:
        raise UserError(f"boldvision/trials/splits/{name}.py: expected a function split; add it")
    return split


def keywords(name: str) -> list[str]:
    """What a split is told beside the trials.

    Raises
    ------
    UserError
        See :func:`find`; or it asks for something else than `KEYWORDS`.
    """
    _, *asked = inspect.signature(find(name)).parameters
    if unknown := set(asked) - set(KEYWORDS):
        raise UserError(
            f"boldvision/trials/splits/{name}.py: split: expected trials and keywords of "
            f"{', '.join(KEYWORDS)}, found {min(unknown)}; correct it"
        )
    return asked
