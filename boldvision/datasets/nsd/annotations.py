"""COCO's annotations: captions of many images, read a piece at a time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import IO, Any

from boldvision.files import reading

ARCHIVE = "annotations/annotations_trainval2017.zip"
"""Key of the archive in COCO's bucket."""

SPLITS = ("train2017", "val2017")
"""Parts of COCO that NSD's images were taken from."""

LARGEST_FILE = 1 << 30
"""Bytes of a file of captions once unpacked, at most; COCO's have 92 MB and 4 MB."""

LARGEST_VALUE = 1 << 24
"""Characters of one annotation, or of what stands beside the lists, at most."""

BLOCK = 1 << 18
"""Characters read at once."""

EXPECTED = "COCO's captions of 2017"

REMEDY = "remove it and run again to fetch it anew, or correct `coco.folder`"

Captions = dict[tuple[str, int], list[str]]
"""By part of COCO and its number of the image."""


def read_captions_of(place: Path, wanted: Mapping[str, Collection[int]], at_most: int) -> Captions:
    """Captions of images in COCO's order, without white space around them; empty ones left out.

    Parameters
    ----------
    place
        The archive, or a folder with it or with its files, in it or in ``annotations/``.
    wanted
        COCO's numbers of the images, by part of COCO.
    at_most
        Captions of one image that are kept, the first ones.

    Returns
    -------
    dict
        An image without captions is not in it.

    Raises
    ------
    UserError
        A file is missing or damaged.
    """
    found: Captions = {}
    for split, numbers in wanted.items():
        with _opened(place, f"captions_{split}.json") as file:
            for annotation in elements(file, "annotations"):
                number, text = annotation["image_id"], annotation["caption"].strip()
                if not text or number not in numbers:
                    continue
                said = found.setdefault((split, number), [])
                if len(said) < at_most:
                    said.append(text)
    return found


@contextmanager
def _opened(place: Path, name: str) -> Iterator[IO[str]]:
    """One file of captions, from wherever it is; what is wrong with it is told in one line."""
    folders = (place, place / "annotations")
    plain = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if plain is not None:
        with reading(plain, EXPECTED, REMEDY), plain.open("rb") as file:
            yield _limited(file, plain.stat().st_size)
        return
    archives = [folder / Path(ARCHIVE).name for folder in folders] if place.is_dir() else [place]
    archive = next((path for path in archives if path.is_file()), archives[0])
    with reading(archive, f"{EXPECTED} ({name})", REMEDY), zipfile.ZipFile(archive) as opened:
        member = opened.getinfo(f"annotations/{name}")
        with opened.open(member) as file:
            yield _limited(file, member.file_size)


def _limited(file: IO[bytes], size: int) -> IO[str]:
    if size > LARGEST_FILE:
        raise ValueError(f"a file of {size} bytes")
    return io.TextIOWrapper(file, "utf-8")


def elements(file: IO[str], name: str) -> Iterator[dict[str, Any]]:
    """Objects of the list `name` of a JSON object, each as it is read; the rest is checked.

    Raises
    ------
    ValueError
        It is no such object.
    """
    text = _Text(file)
    text.expect("{")
    listed = False
    while True:
        key = text.value()
        text.expect(":")
        if text.next() != "[":
            text.value()
        else:
            listed |= key == name
            for element in _list(text):
                if key == name:
                    yield element
        if text.expect(",}") == "}":
            break
    if text.next():
        raise ValueError("more than one JSON value")
    if not listed:
        raise ValueError(f"no list {name!r}")


def _list(text: _Text) -> Iterator[Any]:
    text.expect("[")
    if text.next() == "]":
        text.expect("]")
        return
    while True:
        yield text.value()
        if text.expect(",]") == "]":
            return


class _Text:
    """JSON of which only the next value is in memory."""

    def __init__(self, file: IO[str]):
        self._read: Callable[[int], str] = file.read
        self._decode = JSONDecoder().raw_decode
        self._text, self._place, self._ended = "", 0, False

    def next(self) -> str:
        """The next character that is no white space, which stays; empty at the end."""
        while True:
            while self._place < len(self._text):
                if not self._text[self._place].isspace():
                    return self._text[self._place]
                self._place += 1
            if not self._more():
                return ""

    def expect(self, characters: str) -> str:
        """Pass the next character, one of these."""
        found = self.next()
        if not found or found not in characters:
            raise ValueError(f"{found or 'the end'} in place of one of {characters}")
        self._place += 1
        return found

    def value(self) -> Any:
        """Pass the next value."""
        self.next()
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except JSONDecodeError:
                if not self._more():
                    raise
                continue
            rest = self._text[end : end + 1]
            goes_on = not rest or rest in "0123456789.eE+-"  # a number, perhaps
            if not goes_on or not self._more():
                self._place = end
                return value

    def _more(self) -> bool:
        """Read on, and forget what was passed; False at the end."""
        if self._ended:
            return False
        if len(self._text) - self._place > LARGEST_VALUE:
            raise ValueError(f"a value of more than {LARGEST_VALUE} characters")
        piece = self._read(BLOCK)
        if piece:
            self._text, self._place = self._text[self._place :] + piece, 0
        self._ended = not piece
        return not self._ended
