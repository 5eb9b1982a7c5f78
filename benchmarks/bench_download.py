"""Downloads with everything verified, against ``aws s3 cp`` from the same server on this machine.

    python benchmarks/bench_download.py [OUT.json]

prints and writes (to benchmarks/download.json) seconds of both, of the clock and of the processor,
for one object of 0.5 GB and for a session of 12: from the start of the program to its end, the best
of alternating ones. `boldvision` compares sizes and ETags, decompresses, takes a sha256 and waits
for the disk; `aws` compares sizes. Where there is no ``aws`` on the path, boto3's own transfer,
which it is made of, takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, unquote, urlsplit

from goals import Goal, report
from true_run import write_volumes

from boldvision.datasets.nsd import keys

BUCKET = "natural-scenes-dataset"
PART = 8 << 20
"""Bytes of a part, as the AWS command line uploads."""

REPEATS = 5
SUBJECT = {"number": 1, "sessions": 1, "rest_sessions": [], "grid": [81, 104, 83], "voxels": 15724}
BETAS = keys.betas("subj01", 1, "betas_fithrf", "nii.gz")
FOLDER = keys.timeseries_folder("subj01")
BOTO3 = """
import sys, boto3
from botocore import UNSIGNED
from botocore.config import Config
address, bucket, out, *keys = sys.argv[1:]
config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"})
client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", config=config)
for key in keys:
    client.download_file(bucket, key, f"{out}/{key.rpartition('/')[2]}")
"""


def write_bucket(folder: Path) -> None:
    """One object of five times a run's bytes, and 12 of half a run's."""
    for key in (BETAS, FOLDER):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
    (folder / FOLDER).mkdir()
    run = folder / "run.nii.gz"
    write_volumes(run, 113)
    content = run.read_bytes()
    run.unlink()
    (folder / BETAS).write_bytes(10 * content)  # gzip files in a row are one
    for number in range(1, 13):
        (folder / keys.timeseries("subj01", 1, number)).write_bytes(content)


class Handler(BaseHTTPRequestHandler):
    """As much of S3 as both ask for: HEAD, and GET of ranges and of a listing."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_HEAD(self) -> None:
        """Size and ETag, of the first part if it is asked for."""
        path, query = self._asked()
        size = path.stat().st_size
        if "partNumber" in query:
            self._head(path, 206, min(PART, size), size, 0)
        else:
            self._head(path, 200, size, size, 0)

    def do_GET(self) -> None:
        """A range of an object, or the bucket's listing."""
        path, query = self._asked()
        if path.is_dir():
            self._list(query["prefix"][0])
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        self._head(path, 206 if asked else 200, last + 1 - first, size, first)
        self.wfile.flush()
        with path.open("rb") as file:
            while first <= last:
                first += os.sendfile(
                    self.connection.fileno(), file.fileno(), first, last + 1 - first
                )

    def _asked(self) -> tuple[Path, dict[str, list[str]]]:
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").strip("/")
        return self.folder / key, parse_qs(url.query)

    def _head(self, path: Path, code: int, length: int, size: int, first: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", f'"{etag(path)}"')
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Accept-Ranges", "bytes")
        if code == 206:
            self.send_header("Content-Range", f"bytes {first}-{first + length - 1}/{size}")
        self.end_headers()

    def _list(self, prefix: str) -> None:
        rows = [
            f"<Contents><Key>{path.relative_to(self.folder)}</Key><Size>{path.stat().st_size}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for path in sorted((self.folder / prefix).iterdir())
        ]
        text = (
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>"
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_) -> None:
        """Say nothing."""


@cache
def etag(path: Path) -> str:
    """Of an upload in parts."""
    digests = b""
    with path.open("rb") as file:
        while block := file.read(PART):
            digests += hashlib.md5(block).digest()
    return f"{hashlib.md5(digests).hexdigest()}-{len(digests) // 16}"


def serve(folder: Path, pipe: Connection) -> None:
    """Serve a folder until the process ends."""
    Handler.folder = folder
    for path in folder.rglob("*.nii.gz"):
        etag(path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Address of a server in a process of its own."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(folder, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def boldvision(part: str, address: str, out: Path) -> list[str]:
    """Command that fetches a session or its betas."""
    command = [sys.executable, "-m", "boldvision", "fetch", part, "--subject", "subj01"]
    command += ["--session", "1", "--root", str(out), "--out", str(out / part)]
    command += ["--settings", json.dumps({"subject": SUBJECT, "s3": {"bucket": BUCKET}})]
    command += ["--ledger", str(out / "ledger.tsv"), "--endpoint", address]
    return command + (["--kind", "betas_fithrf", "--file", "nii.gz"] if part == "betas" else [])


def theirs(part: str, address: str, out: Path) -> list[str]:
    """The same with ``aws s3 cp``, or with what it is made of."""
    if aws := shutil.which("aws"):
        key, more = (BETAS, []) if part == "betas" else (f"{FOLDER}/", ["--recursive"])
        where = ["--endpoint-url", address, "--no-sign-request", "--region", "us-east-1"]
        return [aws, "s3", "cp", f"s3://{BUCKET}/{key}", f"{out}/", *more, *where, "--quiet"]
    session = [keys.timeseries("subj01", 1, number) for number in range(1, 13)]
    return [
        sys.executable,
        "-c",
        BOTO3,
        address,
        str(out),
        *([BETAS] if part == "betas" else session),
    ]


def timed(command: Callable[[Path], list[str]]) -> tuple[float, float]:
    """Seconds of the clock and of the processor of a command that fills a folder."""
    with TemporaryDirectory() as out:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            command(Path(out)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert sum(path.stat().st_size for path in Path(out).rglob("*.nii.gz")) > 4e8
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def against_aws(part: str, address: str) -> dict[str, float]:
    """The best of alternating downloads."""
    rounds = [
        (
            *timed(lambda out: boldvision(part, address, out)),
            *timed(lambda out: theirs(part, address, out)),
        )
        for _ in range(REPEATS)
    ]
    our_s, our_cpu_s, their_s, their_cpu_s = (min(column) for column in zip(*rounds, strict=True))
    return {
        "boldvision_s": our_s,
        "aws_s": their_s,
        "time_ratio": our_s / their_s,
        "boldvision_processor_s": our_cpu_s,
        "aws_processor_s": their_cpu_s,
    }


def main(out: Path) -> None:
    """Measure, print and write."""
    other = "aws s3 cp" if shutil.which("aws") else "boto3's transfer"
    with TemporaryDirectory() as name:
        write_bucket(Path(name))
        with serving(Path(name)) as address:
            results = {part: against_aws(part, address) for part in ("betas", "session")}
    for part, values in results.items():
        print(part, *(f"{name} {value:.3g}" for name, value in values.items()), sep="\n  ")
    goals = [
        Goal(f"{part}: time over that of {other}", values["time_ratio"], at_most=1.2)
        for part, values in results.items()
    ]
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    content = {"against": other, **machine, **results, "goals": report(goals)}
    out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("download.json"))
