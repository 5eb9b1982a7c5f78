"""Whatever happens to a file: the right result, or one line that says what is wrong.

The damage is the same at every run; ``BOLDVISION_FUZZ=50`` tries 50 times as many files.
"""

import os
import random
import resource
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from fuzz_files import KINDS, Kind, alike, same

from boldvision.errors import UserError

ROUNDS = 200 * int(os.environ.get("BOLDVISION_FUZZ", "1"))
"""Damaged files of each kind."""

MEMORY = 2 << 30
"""Bytes that a reader may take beyond what this process has."""

PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to go on</body></html>\n"


def damaged(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """A file after a faulty disk, a cut connection, a log-in page, or a mistaken name."""
    match draw.choice(["bits", "bits", "bits", "bytes", "cut", "more", "other", "fixed"]):
        case "bits" | "bytes" as what:
            changed = bytearray(content)
            for _ in range(draw.randint(1, 8)):
                change = 1 << draw.randrange(8) if what == "bits" else draw.randint(1, 255)
                # Headers are small: half of the changes are near the beginning.
                end = len(changed) if draw.random() < 0.5 else min(600, len(changed))
                changed[draw.randrange(end)] ^= change
            return bytes(changed)
        case "cut":
            return content[: draw.randrange(len(content))]
        case "more":
            return content + draw.choice([draw.randbytes(draw.randint(1, 99)), content])
        case "other":
            return draw.choice(others)
    return draw.choice([b"", PAGE, bytes(len(content))])


@contextmanager
def little_memory():
    """At most `MEMORY` more than now, so that a bomb is an error here and not on the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> dict[str, bytes]:
    """A valid file of each kind."""
    files = {}
    for kind in KINDS:
        path = tmp_path_factory.mktemp("good") / kind.name
        kind.write(path)
        files[kind.name] = path.read_bytes()
    return files


@pytest.mark.survives(
    "files",
    "Any input: bits flipped, cut, continued, empty, a web page, or a file of another kind",
    "Where a checksum covers it, the right result or one line naming the file; else a result of "
    "the right structure or that line; never another error, and never much memory",
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_files(kind: Kind, contents, tmp_path, caplog):
    caplog.set_level("CRITICAL")
    path = tmp_path / kind.name
    kind.write(path)
    right = kind.read(path)
    others = [content for name, content in contents.items() if name != kind.name]
    refused: dict[int, str] = {}
    with little_memory(), warnings.catch_warnings(action="ignore"):
        for seed in range(ROUNDS):
            draw = random.Random(f"{kind.name} {seed}")
            path.write_bytes(damaged(contents[kind.name], others, draw))
            try:
                found = kind.read(path)
            except UserError as error:
                refused[seed] = str(error)
                continue
            equal = same(right, found)
            assert equal if kind.sealed else equal or alike(right, found), f"seed {seed}"
    assert refused
    assert {seed for seed, message in refused.items() if kind.name not in message} == set()
