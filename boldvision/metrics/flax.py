"""Weights of Flax, read without running what a pickle may name."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

from boldvision.files import reading


class _ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays and plain containers, refuses everything else."""

    ALLOWED = frozenset(
        {("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}
    )

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} beside the arrays, which is not run")
        return getattr(importlib.import_module(module), name)


def flax_arrays(path: Path) -> dict[str, Any]:
    """Nested dictionary of NumPy arrays of a pickled Flax checkpoint.

    Raises
    ------
    UserError
        It contains anything but arrays.
    """
    remedy = "delete it and run the stage `weights` again"
    with reading(path, "only NumPy arrays", remedy), path.open("rb") as file:
        return _ArraysOnly(file).load()
