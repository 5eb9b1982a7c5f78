"""A bucket read without credentials: what it holds, and bytes that survive a bad line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlparse

from boldvision.config import S3
from boldvision.errors import UserError

WORKERS = 8
"""Requests in flight at once."""

ATTEMPTS = 6
"""Attempts in a row that may fail without a byte arriving."""

BACKOFF_S = 1.0
"""Wait after the first failed attempt, s; doubles with each further one."""

CHUNK = 1 << 20

PAGE = 1000
"""Names in one answer of a listing, the most that S3 gives."""


@dataclass(frozen=True)
class Remote:
    """An object of the bucket at one moment: its key, size, ETag and date (ISO 8601, UTC)."""

    key: str
    bytes: int
    etag: str
    last_modified: str


class Bucket:
    """One bucket, anonymous; safe to share between threads.

    Parameters
    ----------
    s3
        Name, region and, unless it is AWS, the address of the server.
    """

    def __init__(self, s3: S3) -> None:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        loopback = urlparse(s3.endpoint or "").hostname in ("127.0.0.1", "localhost", "::1")
        self.name = s3.bucket
        self.address = s3.endpoint or f"AWS {s3.region}"
        self._client = boto3.client(
            "s3",
            region_name=s3.region,
            endpoint_url=s3.endpoint,
            config=Config(
                signature_version=UNSIGNED,
                s3={"addressing_style": "path" if s3.endpoint else "auto"},
                ignore_configured_endpoint_urls=True,
                proxies={} if loopback else None,
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=2 * WORKERS,
                retries={"mode": "standard", "total_max_attempts": 5},
                response_checksum_validation="when_required",
            ),
        )

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
            The bucket may not be listed, or the server does not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name,
            Prefix=prefix,
            Delimiter="" if below else "/",
            PaginationConfig={"PageSize": PAGE},
        )
        try:
            listed = [item["Key"] for page in pages for item in page.get("Contents", [])]
        except ClientError as error:
            raise _refused(self, prefix, error) from None
        except BotoCoreError as error:
            raise _no_answer(self, error) from None
        return [key for key in listed if not key.endswith("/")]

    def heads(self, keys: list[str]) -> list[Remote]:
        """Look objects up.

        Raises
        ------
        UserError
            Objects are missing, or the server does not answer.
        """
        from botocore.exceptions import BotoCoreError

        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                found = list(pool.map(self._head, keys))
        except BotoCoreError as error:
            raise _no_answer(self, error) from None
        missing = [key for key, remote in zip(keys, found, strict=True) if remote is None]
        if missing:
            raise UserError(
                f"s3://{self.name} at {self.address}: {len(missing)} of {len(keys)} objects are "
                f"missing, the first is {missing[0]}; check `s3` and `subjects`"
            )
        return [remote for remote in found if remote is not None]

    def _head(self, key: str) -> Remote | None:
        from botocore.exceptions import ClientError

        try:
            answer = self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise _refused(self, key, error) from None
        modified = answer["LastModified"].isoformat()
        return Remote(key, answer["ContentLength"], answer["ETag"].strip('"'), modified)

    def part_bytes(self, remote: Remote) -> int | None:
        """Size of the first part of a multi-part upload, or None where the server does not tell."""
        from botocore.exceptions import ClientError

        try:
            answer = self._client.head_object(Bucket=self.name, Key=remote.key, PartNumber=1)
        except ClientError:
            return None
        size = answer["ContentLength"]
        return size if size < remote.bytes else None

    def stream(self, remote: Remote, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes `start` to `stop` (exclusive) in pieces; an interrupted transfer is taken up again.

        Raises
        ------
        UserError
            The object has changed since it was looked up, or the transfer keeps failing.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        stop = remote.bytes if stop is None else stop
        failures = 0
        while start < stop:
            try:
                answer = self._client.get_object(
                    Bucket=self.name,
                    Key=remote.key,
                    Range=f"bytes={start}-{stop - 1}",
                    IfMatch=f'"{remote.etag}"',
                )
                for piece in answer["Body"].iter_chunks(CHUNK):
                    start += len(piece)
                    failures = 0
                    yield piece
            except (BotoCoreError, ClientError) as error:
                failures += 1
                if isinstance(error, ClientError) and _status(error) < 500:
                    raise _refused(self, remote.key, error) from None
                if failures == ATTEMPTS:
                    raise UserError(
                        f"s3://{self.name}/{remote.key}: {ATTEMPTS} attempts failed at byte "
                        f"{start} of {remote.bytes} ({error}); run again to resume"
                    ) from None
                time.sleep(BACKOFF_S * 2 ** (failures - 1))


def _status(error) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _no_answer(bucket: Bucket, error) -> UserError:
    return UserError(f"s3://{bucket.name} at {bucket.address}: no answer ({error}); try again")


def _refused(bucket: Bucket, key: str, error) -> UserError:
    reason = {
        403: "not readable without credentials; check `s3`",
        404: "missing; check `s3` and `subjects`",
        412: "changed during the download; run again to fetch the new version",
    }.get(_status(error), f"refused ({error})")
    return UserError(f"s3://{bucket.name}/{key} at {bucket.address}: {reason}")
