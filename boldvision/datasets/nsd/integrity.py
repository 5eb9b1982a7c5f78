"""Whether a file is what the bucket holds: S3's checksums, ETag, gzip checksum, sha256."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isal import igzip, isal_zlib

from boldvision.datasets.nsd.arriving import Arriving

USUAL_PART_MIB = (8, 5, 15, 16, 10, 25, 32, 50, 64, 100, 128, 256, 512)
"""Part sizes of the common upload tools, MiB, tried where a server does not tell the size."""

BLOCK = 1 << 20


class Crc32:
    """CRC-32 with the methods of a hash; its digest is big-endian, as in S3."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes) -> None:
        """Take in more bytes."""
        self._value = isal_zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        """The checksum, 4 bytes."""
        return self._value.to_bytes(4, "big")


ALGORITHMS: dict[str, Callable[[], Any]] = {
    "sha256": lambda: hashlib.sha256(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32": Crc32,
}
"""What can be computed, strongest first. S3 also has CRC32C, CRC64NVME and others."""

DIGEST_BYTES = {name: len(new().digest()) for name, new in ALGORITHMS.items()}


@dataclass(frozen=True)
class Checksum:
    """What a server says of an object's bytes.

    Attributes
    ----------
    algorithm
        One of `ALGORITHMS`.
    digest
        Of the object, or of the digests of its parts, one after the other.
    parts
        Number of parts of such an upload; 0 for a digest of the object.
    source
        How the server names it, for messages.
    """

    algorithm: str
    digest: bytes
    parts: int
    source: str


def etag(answer: Mapping[str, Any]) -> str:
    """ETag of an answer of S3 without its quotes; empty if there is none."""
    return answer.get("ETag", "").replace('"', "")


def checksums(answer: Mapping[str, Any]) -> tuple[Checksum, ...]:
    """What an answer to a HEAD says of the object's bytes, the strongest first.

    The ETag of an object uploaded at once is its md5; that of one uploaded in N parts is the md5 of
    the parts' md5s, followed by ``-N``. With a key of AWS KMS or of the customer, or of another
    form, it is something else (Amazon S3 User Guide, Checking object integrity). The other
    checksums are in base64 and may have ``-N`` too.
    """
    found = []
    for algorithm in ALGORITHMS:
        decode: Callable[[str], bytes] = base64.b64decode
        name, text = f"x-amz-checksum-{algorithm}", answer.get(f"Checksum{algorithm.upper()}", "")
        if algorithm == "md5":
            decode, name, text = bytes.fromhex, "ETag", _md5_text(answer)
        value, _, parts = text.partition("-")
        try:
            digest = decode(value)
            claim = Checksum(algorithm, digest, int(parts or 0), f"{name} {text}")
        except ValueError:
            continue
        if len(digest) == DIGEST_BYTES[algorithm]:
            found.append(claim)
    return tuple(found)


def _md5_text(answer: Mapping[str, Any]) -> str:
    keyed = answer.get("ServerSideEncryption", "").startswith("aws:kms")
    if keyed or "SSECustomerAlgorithm" in answer:
        return ""
    return etag(answer)


def agrees(
    file: Path | Arriving, size: int, checksum: Checksum, part_bytes: int | None = None
) -> bool | None:
    """Whether a file has a checksum.

    Parameters
    ----------
    file
        The file.
    size
        Bytes that it has, or will have.
    checksum
        As the server says.
    part_bytes
        Size of the parts but the last; None tries the usual sizes.

    Returns
    -------
    bool or None
        None where it cannot be told, because the size of the parts is unknown and unusual.
    """
    algorithm = checksum.algorithm
    if not checksum.parts:
        return digest(file, algorithm) == checksum.digest
    sizes = [mib << 20 for mib in USUAL_PART_MIB] if part_bytes is None else [part_bytes]
    for candidate in sizes:
        if -(-size // candidate) == checksum.parts:
            whole = ALGORITHMS[algorithm]()
            whole.update(b"".join(_digests(file, candidate, algorithm)))
            if whole.digest() == checksum.digest:
                return True
    return None if part_bytes is None else False


def digest(file: Path | Arriving, algorithm: str) -> bytes:
    """Of a whole file, by one of `ALGORITHMS`."""
    return _digests(file, sys.maxsize, algorithm)[0]


def _digests(file: Path | Arriving, part_bytes: int, algorithm: str) -> list[bytes]:
    digests: list[bytes] = []
    with file.open("rb") as stream:
        block = stream.read(min(part_bytes, BLOCK))
        while block or not digests:
            part, left = ALGORITHMS[algorithm](), part_bytes
            while block and left:
                part.update(block)
                left -= len(block)
                block = stream.read(min(left or part_bytes, BLOCK))
            digests.append(part.digest())
    return digests


def gzip_fault(file: Path | Arriving) -> str | None:
    """What is wrong with a gzip file, found by decompressing it; None if nothing is.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    try:
        with file.open("rb") as stream, igzip.open(stream) as unpacked:
            while unpacked.read(BLOCK):
                pass
    except (EOFError, OSError, isal_zlib.error) as error:  # type: ignore[misc]  # isal's stub
        if isinstance(error, OSError) and error.errno:  # of the machine, not of gzip
            raise
        return str(error)
    return None
