"""Files that come with the workflow, wherever it is run."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Folder of the workflow."""


def shipped(path: str) -> str:
    """Where a file or folder of the configuration is.

    As given, from the working directory; if nothing is there, below the workflow's own folder; if
    nothing is there either, as given.
    """
    own = ROOT / path
    return str(own) if own.exists() and not Path(path).exists() else path
