"""How a bucket is spoken to: blind to the user's AWS settings, equally patient with every call."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

from boldvision.config import Bucket
from boldvision.datasets.nsd.faults import (
    BUNDLES,
    LOOPBACK,
    Failed,
    cause,
    looks_lasting,
    may_pass,
    refusal,
)
from boldvision.errors import UserError

Answer = TypeVar("Answer")

ATTEMPTS = 8
"""Attempts in a row that may fail: with the waits between them, two minutes and more."""

FEW = 4
"""The same where all look like a mistake in the address, and nothing has come from there yet."""

BACKOFF_S = 1.0
"""Wait after the first failed attempt, s; doubles with each further one."""

PROGRESS = 1 << 18
"""Bytes that an attempt must bring to count as progress, and at least every `STALL_S`."""

SILENCE_S = 60.0
"""Longest wait for the next bytes of an answer, s."""

STALL_S = 240.0
"""Longest wait for a whole answer without a body, or for `PROGRESS` bytes of one, s."""

CHUNK = 1 << 18
"""Largest single read from a connection, bytes."""


@cache
def _session():
    """A session that reads neither variables nor files of the user's AWS configuration.

    Access is anonymous, so that nothing in them is needed, and a mistake there would end the job.
    """
    import boto3
    from botocore.session import Session

    blind = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }
    for file in ("config_file", "credentials_file"):
        blind[file] = (None, None, os.devnull, None)
    return boto3.session.Session(botocore_session=Session(session_vars=blind))


def anonymous_client(s3: Bucket, connections: int = 10) -> Any:
    """A client of boto3 that signs nothing and leaves repeating to `Patience`.

    Proxies and certificates are taken from the environment as usual; a server on this machine is
    spoken to directly.

    Parameters
    ----------
    s3
        Region and, unless it is AWS, the address of the server.
    connections
        Kept open.

    Raises
    ------
    UserError
        Region, address or file of certificates are impossible.
    """
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    loopback = urlsplit(s3.endpoint or "").hostname in LOOPBACK
    config = Config(
        signature_version=UNSIGNED,
        s3={
            "addressing_style": "path" if s3.endpoint else "auto",
            "us_east_1_regional_endpoint": "regional",
        },
        ignore_configured_endpoint_urls=True,
        proxies={} if loopback else None,
        connect_timeout=10,
        read_timeout=SILENCE_S,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": 1},
        response_checksum_validation="when_required",
    )
    try:
        client = _session().client(
            "s3",
            region_name=s3.region,
            endpoint_url=s3.endpoint,
            verify=_certificates(),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise UserError(f"`s3`: {error}; correct `s3.region` and `s3.endpoint`") from None
    client.meta.events.register_last("before-parameter-build.s3", _end_redirection)
    return client


def _end_redirection(model, context, **_) -> None:
    """Take no redirection of the request that asks for a bucket's region: botocore would recurse.

    That request follows a redirection which does not name the region.
    """
    if model.name == "HeadBucket":
        context["s3_redirect"]["redirected"] = True


def _certificates() -> str | None:
    for name in BUNDLES:
        if path := os.environ.get(name):
            if not Path(path).exists():
                raise UserError(
                    f"{name}: expected a file of certificates, found nothing at {path}; "
                    "correct or unset it"
                )
            return path
    return None


class Patience:
    """Attempts at one thing: counts failures in a row and waits between them."""

    def __init__(self) -> None:
        self._failures, self._promising = 0, False

    def progressed(self) -> None:
        """Begin to count anew."""
        self._failures = 0

    @contextmanager
    def attempt(self, place: str) -> Iterator[None]:
        """Let the block fail: wait, and go on behind it, so that a loop can try again.

        Parameters
        ----------
        place
            What is asked for, for messages.

        Raises
        ------
        UserError
            The server refuses, or `ATTEMPTS` (`FEW`) in a row have failed.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if reason := refusal(error):
                raise UserError(f"{place}: {reason}") from None
            if not may_pass(error):
                raise
            self._failures += 1
            self._promising |= not looks_lasting(error)
            attempts = ATTEMPTS if self._promising else FEW
            if self._failures >= attempts:
                advice = "run again to resume" if self._promising else "check `s3` and the network"
                raise UserError(
                    f"{place}: {self._failures} attempts failed, the last with: {cause(error)}; "
                    f"{advice}"
                ) from None
            wait = BACKOFF_S * 2 ** (self._failures - 1)
            print(
                f"{place}: {cause(error)}; attempt {self._failures + 1} of {attempts} in "
                f"{wait:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(wait)


def patiently(call: Callable[[], Answer], place: str) -> Answer:
    """The answer of `call`, which is repeated as `Patience` allows."""
    patience = Patience()
    while True:
        with patience.attempt(place):
            return timely(call)


def timely(call: Callable[[], Answer]) -> Answer:
    """The answer of `call`; one that trickles in is given up after `STALL_S`.

    Raises
    ------
    Failed
        It was given up.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()  # a daemon, so that a stuck one ends with the process
    try:
        return answer.result(STALL_S)
    except TimeoutError:
        raise Failed(f"no whole answer within {STALL_S:g} s") from None


def paced(body, count: int) -> Iterator[bytes]:
    """Exactly `count` bytes of a body, in pieces as they come.

    Parameters
    ----------
    body
        Answer of urllib3.
    count
        How many bytes to take.

    Raises
    ------
    Failed
        The body ends early, or less than `PROGRESS` bytes came in `STALL_S`.
    """
    waited, brought = 0.0, 0
    while count:
        begin = time.monotonic()
        piece = body.read1(min(CHUNK, count))
        waited += time.monotonic() - begin
        if not piece:
            raise Failed(f"the answer ended {count} bytes early")
        count -= len(piece)
        brought += len(piece)
        if brought >= PROGRESS:
            waited, brought = 0.0, 0
        elif waited > STALL_S:
            raise Failed(f"only {brought} bytes in {waited:.0f} s")
        yield piece
