"""Parameters by name: all of them, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from boldvision.errors import UserError


def check_parameters(
    expected: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor], file: Path
) -> None:
    """Compare names and shapes of the parameters that `file` holds with those `expected`.

    Raises
    ------
    UserError
        A name or a shape differs.
    """
    shapes = {(name, value.shape) for name, value in expected.items()}
    found = {(name, value.shape) for name, value in saved.items()}
    if other := shapes ^ found:
        raise UserError(
            f"{file}: expected {len(shapes)} parameters as the settings of the run say, found "
            f"{len(found)}; names or shapes differ, as of {min(name for name, _ in other)}. "
            "Train the model of this file again."
        )


def load_parameters(
    expected: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor], file: Path
) -> None:
    """Copy `saved`, read from `file`, into the parameters `expected`.

    Raises
    ------
    UserError
        See :func:`check_parameters`; nothing was copied.
    """
    check_parameters(expected, saved, file)
    with torch.no_grad():
        for name, value in saved.items():
            expected[name].copy_(value)


def non_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first of `tensors` that holds a NaN or an infinity; `None` if none does."""
    return next((n for n, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
