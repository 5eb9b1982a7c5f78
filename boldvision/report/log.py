"""What a script prints goes to the log of its rule."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Write output, and the traceback of an error, to `path`; errors are raised all the same."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise


def announce(text: str) -> None:
    """Print to the log and to the terminal."""
    print(text)
    if sys.stdout is not sys.__stdout__:
        print(text, file=sys.__stdout__, flush=True)
