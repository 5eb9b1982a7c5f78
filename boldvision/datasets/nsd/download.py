"""Whole objects, from the bucket or from an existing copy of it, checked and on record."""

from __future__ import annotations

import glob
import io
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from boldvision.datasets.nsd.arriving import Arriving
from boldvision.datasets.nsd.integrity import agrees, digest, gzip_fault
from boldvision.datasets.nsd.s3 import Bucket, Remote
from boldvision.errors import UserError
from boldvision.files import atomic, machine_fault

WORKERS = 4
"""Objects in flight at once."""


class Finding(NamedTuple):
    """What is wrong with a file, None if nothing is; by what it was verified; its sha256."""

    fault: str | None
    by: str
    sha256: str


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
    if not targets:
        return []
    remotes = bucket.heads(list(targets))
    total = sum(remote.bytes for remote in remotes)
    have = sum(_bytes_there(remote, targets[remote.key]) for remote in remotes)
    print(
        f"{len(remotes)} objects of s3://{bucket.name} at {bucket.address}: "
        f"{readable(total)}, {readable(have)} already here",
        flush=True,
    )
    require_disk(next(iter(targets.values())).parent, total - have)
    with progress(total, have) as advance, ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(_fetch, bucket, r, targets[r.key], advance) for r in remotes]
        try:
            fetched = [job.result() for job in as_completed(jobs)]
        except BaseException:
            advance.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    verified = Counter(by for _, by in fetched)
    print("verified:", ", ".join(f"{n} by {by}" for by, n in verified.most_common()), flush=True)
    return [entry for entry, _ in fetched]


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
def writing(path: Path) -> Iterator[None]:
    """Name the file in what the machine has against it: the error of a write does not.

    Raises
    ------
    UserError
        The disk is full, or another of `boldvision.files.MACHINE_FAULTS`.
    """
    try:
        yield
    except OSError as error:
        raise machine_fault(error, path) or error from None


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
def progress(total: int, have: int = 0) -> Iterator[Advance]:
    """A progress bar of `total` bytes with their rate, sparing when it goes to a file.

    `have` bytes are there already and no part of the rate.
    """
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 30
    with tqdm(total=total, initial=have, unit="B", unit_scale=True, mininterval=interval) as bar:
        yield Advance(bar)


def _part(remote: Remote, target: Path) -> Path:
    return target.with_name(f".{target.name}.{remote.version}.part")


def _bytes_there(remote: Remote, target: Path) -> int:
    for path in (target, _part(remote, target)):
        if path.is_file():
            return min(path.stat().st_size, remote.bytes)
    return 0


def _fetch(
    bucket: Bucket, remote: Remote, target: Path, advance: Callable[[int], None]
) -> tuple[Entry, str]:
    """Bring one object to its target; a damaged transfer is repeated once from the start."""
    if target.is_file():
        found = _inspect(bucket, remote, target)
        if found.fault is None:
            return _entry(remote, found)
    part = _part(remote, target)
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        if stale != part:
            stale.unlink()
    for _ in range(2):
        found = _fill(bucket, remote, part, advance)
        if found.fault is None:
            part.replace(target)
            return _entry(remote, found)
        part.unlink()
    raise UserError(
        f"s3://{bucket.name}/{remote.key}: {found.fault}, twice; nothing was kept. Try again later "
        "or report it to the owner of the bucket"
    )


def _entry(remote: Remote, found: Finding) -> tuple[Entry, str]:
    entry = Entry(remote.key, remote.bytes, remote.etag, remote.last_modified, found.sha256)
    return entry, found.by


def _fill(bucket: Bucket, remote: Remote, part: Path, advance: Callable[[int], None]) -> Finding:
    """Append what is missing of an object, which is inspected as it arrives."""
    part.parent.mkdir(parents=True, exist_ok=True)
    whole = False
    with writing(part), part.open("ab", buffering=0) as file, ThreadPoolExecutor(1) as pool:
        arriving = Arriving(part)
        inspection = pool.submit(_inspect, bucket, remote, part, arriving)
        try:
            for piece in bucket.stream(remote, file.tell()):
                _write(file, piece)
                arriving.grew(len(piece))
                advance(len(piece))
            whole = True
        finally:
            arriving.end(whole)
        os.fsync(file.fileno())
        return inspection.result()


def _write(file: io.FileIO, piece: bytes) -> None:
    """All of it: a disk that fills up takes a part, and refuses the rest."""
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _inspect(
    bucket: Bucket, remote: Remote, path: Path, arriving: Arriving | None = None
) -> Finding:
    """Compare a file, which may still be arriving, with the object that it should be."""
    file, zipped = arriving or path, remote.key.endswith(".gz")
    with ThreadPoolExecutor(3) as pool:
        comparison = pool.submit(_compare, bucket, remote, file)
        unpacking = pool.submit(gzip_fault, file) if zipped else None
        sha256 = pool.submit(digest, file, "sha256")
    size = path.stat().st_size
    if size != remote.bytes:
        return Finding(f"expected {remote.bytes} bytes, found {size}", "", "")
    fault, by = comparison.result()
    if fault:
        return Finding(fault, "", "")
    if not by:
        by = "size and gzip checksum only" if zipped else "size only"
        known = ", ".join(checksum.source for checksum in remote.checksums)
        print(f"{remote.key}: {by} (ETag {remote.etag or 'none'}; {known or 'no checksum'})")
    fault = unpacking.result() if unpacking else None
    return Finding(fault and f"damaged gzip ({fault})", by, sha256.result().hex())


def _compare(bucket: Bucket, remote: Remote, file: Path | Arriving) -> tuple[str | None, str]:
    """What the server's checksums have against a file, and which of them agrees, if any."""
    fault = None
    for checksum in remote.checksums:
        part_bytes = bucket.part_bytes(remote) if checksum.parts else None
        agreed = agrees(file, remote.bytes, checksum, part_bytes)
        if agreed:
            return None, checksum.algorithm
        if agreed is False:
            fault = f"the bytes do not have the {checksum.source}"
            if checksum.algorithm != "md5":  # a server's ETag may look like an md5 and be none
                break
    return fault, ""
