"""Whether a file is what the bucket holds: ETag, gzip checksum, sha256."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

USUAL_PART_MIB = (8, 5, 15, 16, 10, 25, 32, 50, 64, 100, 128, 256, 512)
"""Part sizes of the common upload tools, MiB, tried where a server does not tell the size."""

BLOCK = 1 << 20


def sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def etag_agrees(path: str | Path, etag: str, part_bytes: int | None = None) -> bool | None:
    """Whether a file has an S3 ETag.

    The ETag of an object uploaded at once is its md5; that of one uploaded in N parts is the md5 of
    the parts' md5s, followed by ``-N`` (Amazon S3 User Guide, Checking object integrity).

    Parameters
    ----------
    path
        The file.
    etag
        Without quotes.
    part_bytes
        Size of the parts but the last; None tries the usual sizes.

    Returns
    -------
    bool or None
        None where it cannot be told, because the size of the parts is unknown and unusual.
    """
    size = Path(path).stat().st_size
    _, _, parts = etag.partition("-")
    if not parts:
        return _md5_of_parts(path, max(size, 1))[0].hex() == etag
    sizes = [mib << 20 for mib in USUAL_PART_MIB] if part_bytes is None else [part_bytes]
    for candidate in sizes:
        if -(-size // candidate) == int(parts):
            digests = b"".join(_md5_of_parts(path, candidate))
            whole = hashlib.md5(digests, usedforsecurity=False).hexdigest()
            if f"{whole}-{parts}" == etag:
                return True
    return None if part_bytes is None else False


def _md5_of_parts(path: str | Path, part_bytes: int) -> list[bytes]:
    digests: list[bytes] = []
    with open(path, "rb") as file:
        while not digests or file.peek(1):
            digest, left = hashlib.md5(usedforsecurity=False), part_bytes
            while left and (block := file.read(min(left, BLOCK))):
                digest.update(block)
                left -= len(block)
            digests.append(digest.digest())
    return digests


def gzip_fault(path: str | Path) -> str | None:
    """What is wrong with a gzip file, found by decompressing it; None if nothing is."""
    try:
        with gzip.open(path) as file:
            while file.read(BLOCK):
                pass
    except (EOFError, OSError, zlib.error) as error:
        return str(error)
    return None
