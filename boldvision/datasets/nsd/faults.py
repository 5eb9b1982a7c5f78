"""What went wrong with a request to a bucket: whether it may pass, and what to say of it."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file of certificates to trust; the first that is set counts."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine."""


class Failed(Exception):
    """An answer that is not what was asked for, and is asked for again."""


def status(error) -> int:
    """HTTP status of an error that the server answered with."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def is_busy(code: int) -> bool:
    """Whether a status means that it may be another soon; 501 is "not implemented"."""
    return code in (408, 429) or (code >= 500 and code != 501)


def may_pass(error: Exception) -> bool:
    """Whether an error is one of the line or of an answer, not of the program."""
    from botocore.exceptions import (
        ClientError,
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
    )
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    line = (ConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError)
    answer = (ClientError, ResponseParserError, ValueError, Failed)  # ValueError: of a header
    return isinstance(error, line + answer)


def looks_lasting(error: Exception) -> bool:
    """Whether an error that may pass is more often a mistake in the address.

    The name servers know no such name, or nothing listens at an address of this machine.
    """
    origin = _origin(error)
    if isinstance(origin, socket.gaierror):
        return origin.errno == socket.EAI_NONAME  # EAI_AGAIN: they did not answer
    address = getattr(error, "kwargs", {}).get("endpoint_url", "")
    return isinstance(origin, ConnectionRefusedError) and urlsplit(address).hostname in LOOPBACK


def refusal(error: Exception) -> str | None:
    """Why it is no use to ask again; None if it may be."""
    from botocore.exceptions import BotoCoreError, ClientError

    origin = _origin(error)
    if isinstance(origin, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({origin.verify_message}); check "
            f"`s3.endpoint`, or name a file with the certificate to trust in {BUNDLES[0]}"
        )
    if not isinstance(error, ClientError):
        lasting = isinstance(error, BotoCoreError) and not may_pass(error)
        return f"{error}; check `s3`" if lasting else None
    code = status(error)
    if is_busy(code):
        return None
    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    if region := headers.get("x-amz-bucket-region") if code < 400 else None:
        return f"the bucket is in region {region}; set `s3.region: {region}`"
    return {
        301: "the bucket is elsewhere; check `s3.region` and `s3.endpoint`",
        403: "not readable without credentials; check `s3`",
        404: "missing; check `s3` and `subjects`",
        412: "changed during the download; run again to fetch the new version",
    }.get(code, f"refused ({error}); check `s3`")


def cause(error: Exception) -> str:
    """An error in words, with what the operating system said, which botocore's text may lack."""
    origin = str(_origin(error))
    return str(error) if origin in str(error) else f"{error} ({origin})"


def _origin(error: BaseException) -> BaseException:
    """The first of the errors that led to this one."""
    while before := error.__cause__ or error.__context__:
        error = before
    return error
