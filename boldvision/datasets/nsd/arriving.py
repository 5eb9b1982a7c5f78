"""A file that is read while it is still being written."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Condition
from typing import BinaryIO, Literal


class Arriving:
    """A file to which one thread appends, and which others read from its beginning meanwhile.

    A reader that has come to the end waits for more, until :meth:`end`.

    Parameters
    ----------
    path
        The file; what is in it already is read as well.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._changed = path, Condition()
        self._bytes, self._state = path.stat().st_size, "growing"

    def grew(self, count: int) -> None:
        """Say that so many bytes were appended, and are in the file."""
        with self._changed:
            self._bytes += count
            self._changed.notify_all()

    def end(self, whole: bool) -> None:
        """Say that no more will come; where the file is not whole, the readers raise."""
        with self._changed:
            self._state = "whole" if whole else "given up"
            self._changed.notify_all()

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """A reader of its own, as `Path.open` gives one."""
        return io.BufferedReader(_Reader(self, self._path.open(mode, buffering=0)), 1 << 20)

    def wait_beyond(self, position: int) -> None:
        """Wait until there are bytes behind a position, or no more will come.

        Raises
        ------
        InterruptedError
            The transfer has been given up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._bytes > position or self._state != "growing")
            if self._state == "given up":
                raise InterruptedError("the transfer was given up")


class _Reader(io.RawIOBase):
    """Reads no further than what has arrived."""

    def __init__(self, arriving: Arriving, file: io.FileIO) -> None:
        self._arriving, self._file = arriving, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self._arriving.wait_beyond(self._file.tell())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
