"""A folder served as an S3 bucket on loopback while a command runs.

``python -m boldvision serve FOLDER --bucket NAME [--prefix KEY …] -- COMMAND …`` replaces the
argument ``{endpoint}`` of the command by the server's address and returns the command's exit code.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boldvision.config import S3
from boldvision.datasets.nsd.transport import anonymous_client
from boldvision.errors import UserError

PART_BYTES = 8 << 20
"""Larger files are uploaded in parts of this size, as the AWS command line does."""


@contextmanager
def serving(folder: str | Path, bucket: str, prefixes: Sequence[str] = ("",)) -> Iterator[str]:
    """Serve the files of a folder whose keys begin with one of the prefixes, readable by anyone.

    Yields
    ------
    str
        Address of the server, ``http://127.0.0.1:port``.

    Raises
    ------
    UserError
        The folder does not exist or has no such files.
    """
    import logging

    folder = Path(folder)
    keys = sorted(
        key
        for path in folder.rglob("*")
        if path.is_file()
        and (key := path.relative_to(folder).as_posix()).startswith(tuple(prefixes))
    )
    if not keys:
        raise UserError(f"{folder}: no file whose key begins with {' or '.join(prefixes)!r}")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    # Not moto's own ThreadedMotoServer, which takes half a second to stop.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.port}"
        _load(address, bucket, folder, keys)
        yield address
    finally:
        server.shutdown()
        thread.join()


def _load(address: str, bucket: str, folder: Path, keys: list[str]) -> None:
    from boto3.s3.transfer import TransferConfig

    client = anonymous_client(S3(bucket=bucket, region="us-east-1", endpoint=address))
    client.create_bucket(Bucket=bucket)
    parts = TransferConfig(PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2)
    for key in keys:
        client.upload_file(
            str(folder / key), bucket, key, ExtraArgs={"ACL": "public-read"}, Config=parts
        )


def run(command: list[str]) -> int:
    """Run a command, pass SIGTERM and SIGINT on to it, return its exit code as a shell does."""
    child: subprocess.Popen | None = None
    early: list[int] = []

    def forward(number: int, _) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    previous = {
        number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        child = subprocess.Popen(command)
        for number in early:
            child.send_signal(number)
        # With a timeout, wait() polls: a signal that another thread receives would not end a
        # blocking wait, and the handler would not run.
        code = child.wait(threading.TIMEOUT_MAX)
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be run ({error})") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def main(argv: list[str] | None = None) -> int:
    """Serve a folder around a command."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m boldvision serve",
        usage="%(prog)s FOLDER --bucket NAME [--prefix KEY …] -- COMMAND …",
        description=__doc__,
    )
    parser.add_argument("folder", type=Path, help="folder with the bucket's keys")
    parser.add_argument("--bucket", required=True, help="name of the bucket")
    parser.add_argument("--prefix", nargs="+", default=[""], help="beginnings of the keys to serve")
    cut = argv.index("--") if "--" in argv else len(argv)
    args, command = parser.parse_args(argv[:cut]), argv[cut + 1 :]
    if not command:
        parser.error("expected -- COMMAND …")
    with serving(args.folder, args.bucket, args.prefix) as address:
        return run([address if word == "{endpoint}" else word for word in command])
