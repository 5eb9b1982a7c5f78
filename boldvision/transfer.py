"""Download of one file over HTTP, which goes on where an earlier, interrupted one ended."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from boldvision.errors import UserError
from boldvision.files import machine_fault

STALLED_S = 60.0
"""A server that sends nothing for so long has stalled, s."""

BLOCK = 1 << 20

LARGEST = 16 << 30
"""Bytes of a file, at most; those of networks have 2 GB."""


def download(url: str, path: Path, setting: str) -> Path:
    """Fetch `url` to a hidden file beside `path`, whole; the caller checks and renames it.

    Its name contains the version that the server gives, so two versions are never patched together.

    Parameters
    ----------
    url
    path
    setting
        What the address comes from, for messages.

    Returns
    -------
    Path
        The hidden file.

    Raises
    ------
    UserError
        The server refuses, does not answer, ended the transfer, leads away from https, or sends
        more than `LARGEST`; what came is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    response = _open(url, {}, setting)
    with response:
        total = int(response.headers.get("Content-Length") or -1)
        if total > LARGEST:
            raise _too_large(url, total, setting)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        part = path.with_name(f".{path.name}.{hashlib.sha256(version.encode()).hexdigest()[:8]}")
        have = part.stat().st_size if version and part.exists() else 0
        if 0 < have == total:
            return part
        if not 0 < have < total:
            _write(url, response, part, "wb", setting)
            return _whole(url, part, total)
    with _open(url, {"Range": f"bytes={have}-", "If-Range": version}, setting) as response:
        _write(url, response, part, "ab" if response.status == 206 else "wb", setting)
    return _whole(url, part, total)


def _open(url: str, headers: dict[str, str], setting: str) -> Any:
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=STALLED_S)
    except urllib.error.HTTPError as error:
        raise UserError(f"{url}: {_refusal(error, setting)}") from None
    except (OSError, HTTPException) as error:
        raise _silent(url, error) from error
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise UserError(
            f"{url}: leads to {response.url}, whose server nothing vouches for; correct {setting}"
        )
    return response


def _refusal(error: urllib.error.HTTPError, setting: str) -> str:
    answer = f"the server answers {error.code} {error.reason}"
    if error.code in (404, 410):
        return f"{answer}: there is no such file. Correct {setting}, or give the file by hand."
    if error.code in (401, 403):
        return f"{answer}: it may not be read without an account. Fetch it by hand."
    return f"{answer}. Run the stage again later."


def _write(url: str, response: Any, part: Path, mode: str, setting: str) -> None:
    try:
        with part.open(mode) as file:
            while block := response.read(BLOCK):
                if file.tell() + len(block) > LARGEST:
                    raise _too_large(url, file.tell() + len(block), setting)
                file.write(block)
    except (TimeoutError, HTTPException) as error:
        raise _silent(url, error) from error
    except OSError as error:
        raise machine_fault(error, part) or _silent(url, error) from error


def _whole(url: str, part: Path, total: int) -> Path:
    size = part.stat().st_size
    if total < 0 or size == total:
        return part
    if size > total:
        part.unlink()
    raise UserError(
        f"{url}: expected {total} bytes, the transfer ended after {size}. Run the stage again: it "
        "goes on from there."
    )


def _silent(url: str, error: Exception) -> UserError:
    return UserError(
        f"{url}: no answer ({error}). This stage needs a network: run it again, it goes on where "
        "it was; where there is none, copy the folder from a machine that has one."
    )


def _too_large(url: str, size: int, setting: str) -> UserError:
    return UserError(
        f"{url}: expected at most {LARGEST} bytes, found {size} or more: it is another file; "
        f"correct {setting}"
    )
