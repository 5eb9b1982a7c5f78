"""What a script prints goes to the log of its rule; it ends with its workflow, as stages do."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from boldvision.errors import UserError
from boldvision.files import machine_fault
from boldvision.launcher import end_with_launcher


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Write output, and the traceback of an error, to `path`; errors are raised all the same.

    What `boldvision.cli.main` says in one line is one line here too, on the terminal as in the
    log, and the script ends with status 1.
    """
    end_with_launcher()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        except BaseException as error:
            told = machine_fault(error) if isinstance(error, OSError) else error
            if not isinstance(told, UserError):
                traceback.print_exc()
                raise
            _print(f"boldvision {Path(path).stem}: {told}", sys.stderr, sys.__stderr__)
            raise SystemExit(1) from None


def announce(text: str) -> None:
    """Print to the log and to the terminal."""
    _print(text, sys.stdout, sys.__stdout__)


def _print(text: str, log: TextIO, terminal: TextIO | None) -> None:
    print(text, file=log)
    if terminal is not None and terminal is not log:
        print(text, file=terminal, flush=True)
