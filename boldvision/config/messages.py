"""What is wrong with a configuration, in words that ask for no knowledge of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

from pydantic import ValidationError

from boldvision.config.section import NAME, PLACE, REPOSITORY, SHA256, TEXT, URL, WINDOW, WORD

EXPECTED = {
    NAME: "a name of a-z, 0-9 and _, a letter first",
    WINDOW: "the name of a window, as in main, or of one shifted by TRs, as in main+2",
    WORD: "letters, digits, _, . and -, a letter or digit first",
    PLACE: "a path in one line, without { and }, and without a dash in front",
    TEXT: "one line of text",
    REPOSITORY: "OWNER/NAME, of letters, digits, _, . and -",
    SHA256: "64 digits of 0-9 and a-f",
    URL: "an address that begins with https://, without blanks, quotes, { and }",
}
"""What the patterns of strings ask for."""

KEYS = {
    "extra_forbidden": "there is no such key; config/README.md lists them",
    "missing": "the key is missing",
    "dict_type": "expected keys and their values",
    "model_type": "expected keys and their values",
    "model_attributes_type": "expected keys and their values",
    "union_tag_not_found": "the key {discriminator} is missing",
}
"""What is said of keys, whatever their values."""

TAGGED = "preprocessing"
"""Section whose entries are of several kinds; pydantic puts the kind into an entry's place."""


def messages(error: ValidationError, *where: str) -> list[str]:
    """Every fault as one line, ``key.below.it: what was expected, what was found``.

    Parameters
    ----------
    error
        Of the configuration, or of its part at `where`.
    """
    return [_line([*where, *map(str, fault["loc"])], _told(fault)) for fault in error.errors()]


def _line(place: list[str], told: str) -> str:
    if place and place[0] == TAGGED:
        del place[2:3]
    place = [key for key in place if key != "[key]"]  # pydantic's mark: the key itself is wrong
    return f"{'.'.join(place)}: {told}" if place else told


def _told(fault: Mapping[str, Any]) -> str:
    kind, found, about = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "value_error":
        return str(about["error"])
    if kind in KEYS:
        return KEYS[kind].format(**about)
    told = fault["msg"]
    if kind == "string_pattern_mismatch":
        told = f"expected {EXPECTED[about['pattern']]}"
    if kind == "union_tag_invalid":
        told, found = f"{about['discriminator']}: expected {about['expected_tags']}", about["tag"]
    return f"{told}, found {shortened(found)}" if isinstance(found, str | int | float) else told
