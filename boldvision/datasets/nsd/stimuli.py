"""Images of the stimulus file, without the 39.6 GB of the whole of it.

`imgBrick` is contiguous and uncompressed, so that an image is one stretch of the remote file and a
subject's images are read by ranges; were it chunked, the whole file would be fetched.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from boldvision.config import Design
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.download import (
    Entry,
    download,
    progress,
    readable,
    require_disk,
    writing,
)
from boldvision.datasets.nsd.s3 import WORKERS, Bucket, Remote
from boldvision.errors import FETCH_AGAIN
from boldvision.files import reading, sha256
from boldvision.images import write_images

DATASET = "imgBrick"

GAP = 1 << 20
"""Unwanted bytes between two images that cost less to read than a second request."""

BLOCK = 1 << 24
"""Largest single read, bytes."""

SLAB = 256
"""Images copied at once from file to file."""


class RemoteFile(io.RawIOBase):
    """A remote object as a seekable file, for the few small reads of a header."""

    def __init__(self, bucket: Bucket, remote: Remote) -> None:
        super().__init__()
        self._bucket, self._remote, self._position = bucket, remote, 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be positioned: yes."""
        return True

    def tell(self) -> int:
        """Position, bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position relative to start, current position or end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._remote.bytes}
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer) -> int:
        """Fill a buffer from the current position."""
        stop = min(self._position + len(buffer), self._remote.bytes)
        data = b"".join(self._bucket.stream(self._remote, self._position, stop))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def fetch_images(
    bucket: Bucket, image_id: np.ndarray, design: Design, out: Path, known: Mapping[int, Path]
) -> list[Entry]:
    """Fetch images into a stack; rows an earlier, interrupted call fetched are kept.

    Parameters
    ----------
    bucket
        Where from.
    image_id
        int64 [N], increasing, 1-based.
    design
        Size of the stimulus file.
    out
        The stack, see `boldvision.images`; ``<out>.partial/`` holds what is not complete.
    known
        Files of some of the images, by image_id, with which the stack must agree.

    Raises
    ------
    UserError
        The stimulus file is not as described, the disk is too small, or the server fails.
    """
    [remote] = bucket.heads([keys.stimuli()])
    partial = out.with_name(f"{out.name}.partial")
    offset = _offset(bucket, remote, design)
    if offset is None:
        whole = partial / Path(remote.key).name
        [entry] = download(bucket, {remote.key: whole})
        copy_images(whole, image_id, design, out, known)
    else:
        wanted = hashlib.sha256(f"{remote.version} {offset} {design.image_px}".encode())
        wanted.update(np.ascontiguousarray(image_id, np.int64).tobytes())
        pixels = partial / f"{wanted.hexdigest()[:24]}.pixels"
        _fetch_rows(bucket, remote, image_id - 1, design.image_px, offset, pixels)
        shape = (len(image_id), design.image_px, design.image_px, 3)
        complete = np.memmap(pixels, np.uint8, "r", shape=shape)
        with writing(out):
            write_images(out, image_id, _slabs(complete), known)
        print(
            f"verified: every range was answered as asked for, of ETag {remote.etag or 'none'}; "
            f"{len(known)} of {len(image_id)} images equal their files",
            flush=True,
        )
        key = f"{remote.key}#{out.stem}"
        entry = Entry(key, complete.nbytes, remote.etag, remote.last_modified, sha256(out))
    shutil.rmtree(partial)
    return [entry]


def copy_images(
    source: Path, image_id: np.ndarray, design: Design, out: Path, known: Mapping[int, Path]
) -> None:
    """Copy images from a stimulus file on disk into a stack.

    Parameters
    ----------
    source
        nsd_stimuli.hdf5.
    image_id
        int64 [N], increasing, 1-based.
    design
        Size of the stimulus file.
    out
        The stack.
    known
        Files of some of the images, by image_id, with which the stack must agree.

    Raises
    ------
    UserError
        The stimulus file is not as described by `design` or by what is known of its images.
    """
    write_images(out, image_id, _stored(source, image_id - 1, design), known)


def _stored(source: Path, rows: np.ndarray, design: Design) -> Iterator[np.ndarray]:
    """Images of a stimulus file on disk; what fails while they are written is not its fault."""
    with _stimuli(str(source), source, design) as stored:
        for i in range(0, len(rows), SLAB):
            yield stored[rows[i : i + SLAB]]


def _slabs(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[i : i + SLAB] for i in range(0, len(images), SLAB))


@contextmanager
def _stimuli(name: str, source, design: Design) -> Iterator:
    """The images of a stimulus file, on disk or remote, as it should be."""
    import h5py

    from boldvision.hdf5 import plain_dataset

    shape = (design.images, design.image_px, design.image_px, 3)
    expected = f"dataset {DATASET} uint8 {shape} in an HDF5 file"
    remedy = f"correct `design` in the configuration, or {FETCH_AGAIN}"
    with reading(name, expected, remedy), h5py.File(source, "r") as file:
        yield plain_dataset(file, DATASET, np.uint8, shape)


def _offset(bucket: Bucket, remote: Remote, design: Design) -> int | None:
    """Position of image 0 in the file; None if an image is not one stretch of raw bytes."""
    buffered = io.BufferedReader(RemoteFile(bucket, remote), 1 << 16)
    with _stimuli(remote.key, buffered, design) as stored:
        return stored.id.get_offset() if stored.chunks is None else None


def _fetch_rows(
    bucket: Bucket, remote: Remote, rows: np.ndarray, image_px: int, offset: int, pixels: Path
) -> None:
    """Append images to a flat file of pixels, whose size tells which it holds already."""
    image_bytes = 3 * image_px**2
    pixels.parent.mkdir(parents=True, exist_ok=True)
    for stale in pixels.parent.iterdir():
        if stale != pixels:
            stale.unlink()
    kept = pixels.stat().st_size if pixels.exists() else 0
    done = max(kept - WORKERS * BLOCK, 0) // image_bytes  # the rest may have holes, see below
    total = len(rows) * image_bytes
    print(
        f"{len(rows)} images of s3://{bucket.name} at {bucket.address}: {readable(total)}, "
        f"{readable(done * image_bytes)} already here",
        flush=True,
    )
    require_disk(pixels.parent, 2 * total - done * image_bytes)

    def read(block: list[int]) -> bytes:
        start, stop = block[0] * image_bytes, (block[-1] + 1) * image_bytes
        data = memoryview(b"".join(bucket.stream(remote, offset + start, offset + stop)))
        places = [row * image_bytes - start for row in block]
        return b"".join(data[place : place + image_bytes] for place in places)

    blocks = read_plan(rows[done:].tolist(), image_bytes)
    with (
        progress(total, done * image_bytes) as advance,
        writing(pixels),
        ThreadPoolExecutor(WORKERS) as pool,
        pixels.open("ab") as file,
    ):
        file.truncate(done * image_bytes)
        for i in range(0, len(blocks), WORKERS):
            for data in pool.map(read, blocks[i : i + WORKERS]):
                file.write(data)
                advance(len(data))
            file.flush()
            os.fsync(file.fileno())  # a machine that fails leaves holes in the last batch alone


def read_plan(rows: list[int], image_bytes: int) -> list[list[int]]:
    """Group increasing rows into single reads: close neighbours together, within `BLOCK` bytes."""
    blocks: list[list[int]] = []
    for row in rows:
        block = blocks[-1] if blocks else None
        if (
            block is not None
            and (row - block[-1] - 1) * image_bytes <= GAP
            and (row - block[0] + 1) * image_bytes <= BLOCK
        ):
            block.append(row)
        else:
            blocks.append([row])
    return blocks
