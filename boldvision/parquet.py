"""Parquet tables: what is read has the columns that were written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from boldvision.files import reading

KINDS = {"i": "integers", "f": "floating-point numbers", "O": "text"}
"""Kinds of columns, as :func:`read_table` takes them."""


def read_table(
    path: str | Path, columns: Mapping[str, str], expected: str, remedy: str
) -> pd.DataFrame:
    """Read a table and check the columns that are relied on.

    Parameters
    ----------
    path
        The file. Where its pages have checksums, they are verified.
    columns
        Name of each column and the kind it must have, a key of `KINDS`; others may be there.
    expected, remedy
        What the file should be, and what to do if it is not.

    Raises
    ------
    UserError
        The file is missing or damaged, or lacks a column or a value, or one is of another kind.
    """
    # Opened here, so that what the operating system says is said in its own words.
    with reading(path, expected, remedy), open(path, "rb") as file:
        table = pd.read_parquet(file, page_checksum_verification=True)
        for name, kind in columns.items():
            if name not in table.columns:
                raise ValueError(f"no column {name} among {', '.join(map(str, table.columns))}")
            kind_found, gaps = table[name].dtype.kind, int(table[name].isna().sum())
            if kind_found != kind or gaps:
                raise ValueError(
                    f"column {name} of {table[name].dtype} with {gaps} gaps, not {KINDS[kind]}"
                )
    return table
