"""The configurations that ship, as values that a test may change."""

from pathlib import Path
from typing import Any

import pandas as pd

from boldvision import plugins
from boldvision.config_docs import read_values
from boldvision.runs_table import read_runs

ROOT = Path(__file__).parents[2]
DEFAULT = str(ROOT / "config" / "config.yaml")
NSD = str(ROOT / "config" / "nsd.yaml")
STUDY = [ROOT / "boldvision/decoders" / name / "runs.tsv" for name in ("dynadiff", "mean_image")]
"""Runs tables of the decoders whose rows tests count: one more decoder changes no test."""


def values_of(*files: str) -> dict[str, Any]:
    """The default configuration, `files` over it, with the runs and targets that come by folder."""
    values = read_values([DEFAULT, *files])
    simulated = values["miniature"] is not None
    for kind in plugins.PACKAGES:
        section = "runs" if kind == "decoders" else kind
        values[section] = plugins.named(kind, values.get(section, {}), simulated).settings
    return values


def runs_table() -> pd.DataFrame:
    """The rows that two decoders bring."""
    return pd.concat(map(read_runs, STUDY), ignore_index=True)


def write_runs_table(table: pd.DataFrame, path: Path) -> str:
    """Write a runs table; its path, for the key `runs_table`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False)
    return str(path)
