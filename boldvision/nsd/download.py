"""Whole objects, from the bucket or from an existing copy of it, checked and on record."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.nsd.integrity import etag_agrees, gzip_fault, sha256
from boldvision.nsd.s3 import Bucket, Remote

WORKERS = 4
"""Objects in flight at once."""


class Entry(NamedTuple):
    """A line of the ledger; `etag` is empty for a file that was not downloaded."""

    key: str
    bytes: int
    etag: str
    last_modified: str
    sha256: str


def write_ledger(path: str | Path, entries: list[Entry]) -> None:
    """Write the tab-separated record of what was fetched, sorted by key."""
    lines = [Entry._fields, *sorted(entries)]
    with atomic(path) as part:
        part.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))


def download(bucket: Bucket, targets: dict[str, Path]) -> list[Entry]:
    """Fetch objects; what an earlier, interrupted call fetched is kept.

    Parameters
    ----------
    bucket
        Where from.
    targets
        Where each key goes. A partial object lies beside its target under a hidden name that
        contains the version, so that a changed object is never patched together.

    Raises
    ------
    UserError
        An object is missing or damaged, the disk is too small, or the server fails.
    """
    remotes = bucket.heads(list(targets))
    total = sum(remote.bytes for remote in remotes)
    have = sum(_bytes_there(remote, targets[remote.key]) for remote in remotes)
    print(
        f"{len(remotes)} objects of s3://{bucket.name} at {bucket.address}: "
        f"{readable(total)}, {readable(have)} already here",
        flush=True,
    )
    require_disk(next(iter(targets.values())).parent, total - have)
    with progress(total) as advance, ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(_fetch, bucket, r, targets[r.key], advance) for r in remotes]
        try:
            return [job.result() for job in as_completed(jobs)]
        except BaseException:
            advance.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def link(raw: str | Path, targets: dict[str, Path]) -> list[Entry]:
    """Link files of an existing copy of the bucket, which is never written to.

    Parameters
    ----------
    raw
        Folder with the bucket's keys.
    targets
        Where each key is linked.

    Raises
    ------
    UserError
        A file is missing or is a damaged gzip file.
    """
    sources = {key: raw_file(raw, key) for key in targets}
    for key, source in sources.items():
        target = targets[key]
        if target.resolve() != source.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(source)
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(_inspect_raw, sources.items()))


def raw_file(raw: str | Path, key: str) -> Path:
    """Absolute path of a key in an existing copy of the bucket.

    Raises
    ------
    UserError
        There is no such file.
    """
    path = (Path(raw).expanduser() / key).absolute()
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; `raw` must be a folder with the bucket's keys, "
            "or null to download"
        )
    return path


def require_disk(folder: Path, needed: int) -> None:
    """Make sure that `needed` bytes fit where `folder` is or will be.

    Raises
    ------
    UserError
        They do not; both numbers are named.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {readable(needed)} to download, {readable(free)} free; make room"
        )


@contextmanager
def mind_full_disk(folder: Path, size: int) -> Iterator[None]:
    """Turn "no space left" while writing `size` bytes into a `UserError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = readable(shutil.disk_usage(folder).free)
        raise UserError(
            f"{folder}: the disk is full, {readable(size)} to write, {free} free; "
            "make room and run again to resume"
        ) from None


def readable(count: int) -> str:
    """A number of bytes in decimal units."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}".replace(".0 ", " ")
        size /= 1000
    return f"{size:.1f} TB"


class Advance:
    """Counts bytes from several threads on one progress bar; `stop` ends those threads."""

    def __init__(self, bar) -> None:
        self._bar, self._lock, self._stopped = bar, threading.Lock(), False

    def __call__(self, count: int) -> None:
        """Count bytes."""
        if self._stopped:
            raise InterruptedError("another transfer failed")
        with self._lock:
            self._bar.update(count)

    def stop(self) -> None:
        """Make the next call in every thread raise."""
        self._stopped = True


@contextmanager
def progress(total: int) -> Iterator[Advance]:
    """A progress bar of `total` bytes, sparing with lines when it goes to a file."""
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 30
    with tqdm(total=total, unit="B", unit_scale=True, mininterval=interval) as bar:
        yield Advance(bar)


def _part(remote: Remote, target: Path) -> Path:
    version = hashlib.sha256(remote.etag.encode()).hexdigest()[:12]
    return target.with_name(f".{target.name}.{version}.part")


def _bytes_there(remote: Remote, target: Path) -> int:
    for path in (target, _part(remote, target)):
        if path.is_file():
            return min(path.stat().st_size, remote.bytes)
    return 0


def _fetch(bucket: Bucket, remote: Remote, target: Path, advance: Callable[[int], None]) -> Entry:
    """Bring one object to its target; a damaged transfer is repeated once from the start."""
    if target.is_file() and _fault(bucket, remote, target) is None:
        advance(remote.bytes)
        return Entry(*_fields(remote), sha256(target))
    part = _part(remote, target)
    for stale in target.parent.glob(f".{target.name}.*.part"):
        if stale != part:
            stale.unlink()
    for _ in range(2):
        _fill(bucket, remote, part, advance)
        fault = _fault(bucket, remote, part)
        if fault is None:
            entry = Entry(*_fields(remote), sha256(part))
            part.replace(target)
            return entry
        part.unlink()
    raise UserError(
        f"s3://{bucket.name}/{remote.key}: {fault}, twice; nothing was kept. Try again later or "
        "report it to the owner of the bucket"
    )


def _fields(remote: Remote) -> tuple[str, int, str, str]:
    return remote.key, remote.bytes, remote.etag, remote.last_modified


def _fill(bucket: Bucket, remote: Remote, part: Path, advance: Callable[[int], None]) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    with mind_full_disk(part.parent, remote.bytes), part.open("ab") as file:
        advance(file.tell())
        for piece in bucket.stream(remote, file.tell()):
            file.write(piece)
            advance(len(piece))
        file.flush()
        os.fsync(file.fileno())


def _fault(bucket: Bucket, remote: Remote, path: Path) -> str | None:
    """What is wrong with a file that should hold an object; None if nothing is."""
    size = path.stat().st_size
    if size != remote.bytes:
        return f"expected {remote.bytes} bytes, found {size}"
    multipart = "-" in remote.etag
    agrees = etag_agrees(path, remote.etag, bucket.part_bytes(remote) if multipart else None)
    if agrees is False:
        return f"the bytes do not have the ETag {remote.etag}"
    if agrees is None:
        print(f"{remote.key}: ETag {remote.etag} of parts of unknown size, not checked")
    fault = gzip_fault(path) if remote.key.endswith(".gz") else None
    return fault and f"damaged gzip ({fault})"


def _inspect_raw(item: tuple[str, Path]) -> Entry:
    key, path = item
    fault = gzip_fault(path) if key.endswith(".gz") else None
    if fault is not None:
        raise UserError(f"{path}: damaged gzip ({fault}); replace it in your copy of the bucket")
    stat = path.stat()
    modified = datetime.fromtimestamp(int(stat.st_mtime), UTC).isoformat()
    return Entry(key, stat.st_size, "", modified, sha256(path))
