"""A bucket read without credentials: what it holds, and bytes that survive a bad line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from boldvision import config
from boldvision.datasets.nsd.faults import Failed, is_busy, status
from boldvision.datasets.nsd.integrity import Checksum, checksums, etag
from boldvision.datasets.nsd.keys import require_safe_keys, the_missing
from boldvision.datasets.nsd.transport import (
    PROGRESS,
    Patience,
    anonymous_client,
    paced,
    patiently,
    timely,
)
from boldvision.errors import UserError

WORKERS = 8
"""Requests in flight at once."""

PAGE = 1000
"""Names in one answer of a listing, the most that S3 gives."""

PAGES = 1000
"""Answers that a listing may take; a folder of NSD takes a few."""


@dataclass(frozen=True)
class Remote:
    """An object of the bucket at one moment.

    Attributes
    ----------
    key, bytes
        Its name and size.
    etag
        Without quotes, ``W/`` before a weak one; empty if the server gives none.
    last_modified
        Date, ISO 8601, UTC; empty if the server gives none.
    checksums
        What S3 says of its bytes, the strongest first.
    """

    key: str
    bytes: int
    etag: str
    last_modified: str
    checksums: tuple[Checksum, ...] = ()

    @property
    def version(self) -> str:
        """Twelve letters that change with the object."""
        text = f"{self.etag} {self.bytes} {self.last_modified}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Bucket:
    """One bucket, anonymous; safe to share between threads.

    Parameters
    ----------
    s3
        Name, region and, unless it is AWS, the address of the server.

    Raises
    ------
    UserError
        Region or address are impossible.
    """

    def __init__(self, s3: config.Bucket) -> None:
        self.name = s3.bucket
        self.address = s3.endpoint or f"AWS {s3.region}"
        self._client = anonymous_client(s3, connections=2 * WORKERS)

    def _place(self, key: str) -> str:
        return f"s3://{self.name}/{key} at {self.address}"

    def keys(self, prefix: str, below: bool = True) -> list[str]:
        """Names of all objects in a folder.

        Parameters
        ----------
        prefix
            The folder, with its final ``/``.
        below
            With the folders in it.

        Raises
        ------
        UserError
            The bucket may not be listed, the server does not answer, its listing has no end, or
            names cannot be those of files in that folder.
        """
        place = self._place(prefix)
        listed: list[str] = []
        token, seen = "", {""}
        while True:
            page = patiently(partial(self._page, prefix, below, token), place)
            listed += [item["Key"] for item in page.get("Contents", [])]
            if not page["IsTruncated"]:
                break
            token = page.get("NextContinuationToken", "")
            if token in seen or len(seen) == PAGES:
                raise UserError(
                    f"{place}: the listing has no end ({len(listed)} names in {len(seen)} "
                    "answers); report it to the owner of the server"
                )
            seen.add(token)
        names = [key for key in listed if not key.endswith("/")]
        require_safe_keys(names, place)
        stray = [key for key in names if not key.startswith(prefix)]
        if stray:
            raise UserError(f"{place}: the listing names {stray[0]}, which is not in that folder")
        return names

    def _page(self, prefix: str, below: bool, token: str) -> dict[str, Any]:
        page = self._client.list_objects_v2(
            Bucket=self.name,
            Prefix=prefix,
            Delimiter="" if below else "/",
            MaxKeys=PAGE,
            **({"ContinuationToken": token} if token else {}),
        )
        if "IsTruncated" not in page:
            raise Failed("the answer is no listing")
        return page

    def heads(self, keys: list[str]) -> list[Remote]:
        """Look objects up.

        Raises
        ------
        UserError
            Objects are missing, or the server does not answer.
        """
        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(self._head, keys))
        missing = [key for key, remote in zip(keys, found, strict=True) if remote is None]
        if missing:
            raise UserError(
                f"s3://{self.name} at {self.address}: {the_missing(missing, len(keys))}; check "
                "`s3` and `subjects`"
            )
        return [remote for remote in found if remote is not None]

    def _head(self, key: str) -> Remote | None:
        answer = self._look(key, lambda code: code == 404, ChecksumMode="ENABLED")
        if answer is None:
            return None
        date = answer.get("LastModified")
        modified = date.isoformat() if date else ""
        return Remote(key, answer["ContentLength"], etag(answer), modified, checksums(answer))

    def part_bytes(self, remote: Remote) -> int | None:
        """Size of the first part of a multi-part upload, or None where the server does not tell."""
        answer = self._look(remote.key, lambda code: not is_busy(code), PartNumber=1)
        size = answer and answer["ContentLength"]
        return size if size and size < remote.bytes else None

    def _look(self, key: str, none: Callable[[int], bool], **how) -> dict[str, Any] | None:
        """Answer to a HEAD; None for the statuses that `none` tells."""
        from botocore.exceptions import ClientError

        def look() -> dict[str, Any] | None:
            try:
                answer = self._client.head_object(Bucket=self.name, Key=key, **how)
            except ClientError as error:
                if none(status(error)):
                    return None
                raise
            if "ContentLength" not in answer:
                raise Failed("the answer does not tell the size")
            return answer

        return patiently(look, self._place(key))

    def stream(self, remote: Remote, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes `start` to `stop` (exclusive) in pieces; an interrupted transfer is taken up again.

        Raises
        ------
        UserError
            The object has changed since it was looked up, or the transfer keeps failing.
        """
        stop = remote.bytes if stop is None else stop
        place, patience = self._place(remote.key), Patience()
        while start < stop:
            begin = start
            with patience.attempt(f"{place}, from byte {start} of {remote.bytes}"):
                for piece in self._range(remote, start, stop):
                    start += len(piece)
                    if start - begin >= PROGRESS:
                        patience.progressed()
                    yield piece

    def _range(self, remote: Remote, start: int, stop: int) -> Iterator[bytes]:
        # A weak ETag never matches (RFC 9110, 13.1.1): the answer's own is compared in any case.
        strong = remote.etag and not remote.etag.startswith("W/")
        request = {
            "Bucket": self.name,
            "Key": remote.key,
            "Range": f"bytes={start}-{stop - 1}",
            **({"IfMatch": f'"{remote.etag}"'} if strong else {}),
        }
        answer = timely(lambda: self._client.get_object(**request))
        with answer["Body"] as body:
            version, answered = (text.removeprefix("W/") for text in (remote.etag, etag(answer)))
            expected = f"206, bytes {start}-{stop - 1}/{remote.bytes}, ETag {version}"
            code = answer["ResponseMetadata"]["HTTPStatusCode"]
            found = f"{code}, {answer.get('ContentRange', 'whole')}, ETag {answered}"
            if found != expected:
                raise Failed(f"expected {expected}; found {found}")
            if answer.get("ContentLength", stop - start) != stop - start:
                raise Failed(f"a body of {answer['ContentLength']} bytes for {stop - start}")
            yield from paced(body, stop - start)
