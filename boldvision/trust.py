"""Files without a published digest: the one found at the first fetch holds from then on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from boldvision.errors import UserError
from boldvision.files import atomic, only_job, reading

LEDGER = "trusted.tsv"
"""In a folder of networks; deleting a line of it means to trust anew."""

HEADER = "file\tsha256\turl"


class Trusted(NamedTuple):
    """What was found at the first fetch."""

    sha256: str
    url: str


def known(folder: Path) -> dict[str, Trusted]:
    """Files of a folder that were trusted on first use."""
    path = folder / LEDGER
    if not path.exists():
        return {}
    with reading(path, f"lines of {HEADER!r}", "delete it to trust the files anew"):
        header, *lines = path.read_text().splitlines()
        if header != HEADER:
            raise ValueError(f"a first line {header!r}")
        rows = (line.split("\t") for line in lines)
        return {file: Trusted(sha256, url) for file, sha256, url in rows}


def remember(folder: Path, file: str, sha256: str, url: str) -> None:
    """Record a file, and say so."""
    with only_job(folder / LEDGER), atomic(folder / LEDGER) as part:
        rows = known(folder) | {file: Trusted(sha256, url)}
        lines = ["\t".join((name, *row)) for name, row in sorted(rows.items())]
        part.write_text("\n".join([HEADER, *lines]) + "\n")
    print(
        f"{folder / file}: its publisher gives no digest; sha256 {sha256} is trusted from now on "
        f"({folder / LEDGER})",
        flush=True,
    )


def digest(folder: Path, file: str, url: str) -> str:
    """The digest that a file must have; empty if it has never been trusted.

    Raises
    ------
    UserError
        The file that was trusted came from another address.
    """
    row = known(folder).get(file)
    if row is None:
        return ""
    if row.url != url:
        raise UserError(
            f"{folder / file}: expected the file of {url}, found that of {row.url}. Delete it and "
            f"its line in {folder / LEDGER}, and run again."
        )
    return row.sha256
