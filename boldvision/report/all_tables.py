"""All tables of a scope at once, as the differences and the scorecard take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boldvision.report import results
from boldvision.report.results import Result


@dataclass(frozen=True)
class AllTables:
    """Our rows of every table of a scope.

    Attributes
    ----------
    evaluations : mapping
        Number of a table to its evaluations.
    dataset : str
        Name of the dataset.
    simulated : bool
        Whether the dataset is the miniature.
    seed : int
        Of bootstrap samples and sign flips.
    """

    evaluations: Mapping[int, list[Result]]
    dataset: str
    simulated: bool
    seed: int


def read(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], dataset: str, simulated: bool, seed: int
) -> AllTables:
    """Read the evaluations of ``table_1``, …, which a rule lists as `results.read` takes them."""
    evaluations = {
        int(name.removeprefix("table_")): results.read(rows) for name, rows in tables.items()
    }
    return AllTables(evaluations, dataset, simulated, seed)
