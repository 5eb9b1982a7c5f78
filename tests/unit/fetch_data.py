"""A bucket to download from, a line that can be cut, and what is asked for."""

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import scipy.io

from boldvision.config import Design
from boldvision.datasets.nsd import fetch, keys
from boldvision.datasets.nsd.runs import trials_in_run
from boldvision.images import ImageStack

MIB = 1 << 20
DESIGN = Design(images=10 + 8 * 240, images_per_subject=250, shared_images=10, image_px=8)
SUBJECT = {"number": 1, "sessions": 1, "rest_sessions": [1], "grid": [2, 2, 2], "voxels": 4}
BIG = keys.timeseries("subj01", 1, 2)


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (DESIGN.images, 8, 8, 3), np.uint8)


def write_experiment(path: Path) -> None:
    rng = np.random.default_rng(1)
    shared, private = np.split(rng.permutation(DESIGN.images) + 1, [DESIGN.shared_images])
    shared.sort()
    stimpattern = np.zeros((1, 12, 75), np.uint8)
    for run in range(12):
        stimpattern[0, run, 3 : 3 + trials_in_run(run + 1)] = 1
    fields = {
        "masterordering": rng.permutation(np.repeat(np.arange(250), 3) + 1)[None],
        "subjectim": np.hstack([np.tile(shared, (8, 1)), private.reshape(8, -1)]),
        "sharedix": shared[None],
        "stimpattern": stimpattern,
    }
    scipy.io.savemat(path, fields)


def shared_ids(folder: Path) -> list[int]:
    return scipy.io.loadmat(folder / keys.expdesign())["sharedix"].ravel().tolist()


class Relay:
    """Passes bytes between a client and the server, and can hold or cut a long answer."""

    def __init__(self, address: str) -> None:
        self.server = (urlparse(address).hostname, urlparse(address).port)
        self.hold_after = None  # bytes of an answer
        self.cut_after = 0  # bytes of an answer
        self.cuts_left = 0
        self.sent = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.server)
            except OSError:
                client.close()  # a client of an earlier test, after the server has gone
                continue
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink, answer: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                while answer and self.hold_after is not None and passed >= self.hold_after:
                    time.sleep(0.01)
                if answer and self.cuts_left and passed >= self.cut_after:
                    self.cuts_left -= 1
                    break
                sink.sendall(data)
                passed += len(data)
                self.sent += len(data) if answer else 0
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Scripted:
    """A server of prepared answers, one to a connection: what `reply` gives for a request.

    An answer is bytes; several are sent one after the other with pauses; b"" drops the line.
    """

    def __init__(self, reply) -> None:
        self.reply, self.requests = reply, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client) -> None:
        with suppress(OSError), client, client.makefile("rb") as lines:
            method, path, _ = next(lines).decode().split()
            head = dict(
                line.decode().lower().strip().split(": ") for line in iter(lines.readline, b"\r\n")
            )
            request = {"method": method, "path": path} | head
            self.requests.append(request)
            answer = self.reply(request)
            for i, piece in enumerate([answer] if isinstance(answer, bytes) else answer):
                time.sleep(0.05 if i else 0)
                client.sendall(piece)


def in_turn(*answers):
    """Each of the answers, or functions of a request, once; the last again and again."""
    left = list(answers)

    def reply(request: dict):
        turn = left.pop(0) if len(left) > 1 else left[0]
        return turn(request) if callable(turn) else turn

    return reply


def answer(status: int, body: bytes = b"", **headers) -> bytes:
    """An answer as it goes over the line; Content_Length is that of the body unless given."""
    headers = {"Content_Length": len(body), "Connection": "close"} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} -", *lines, "", ""]).encode() + body


def ranged(content: bytes, etag: str, start: int, stop: int, **headers) -> bytes:
    """The right answer to a request for a range."""
    where = f"bytes {start}-{stop - 1}/{len(content)}"
    return answer(206, content[start:stop], **{"Content_Range": where, "ETag": etag} | headers)


def arguments(part: str, root: Path, address: str | None, **settings) -> list[str]:
    settings = {"subject": SUBJECT, "design": DESIGN.model_dump()} | settings
    argv = [part, "--settings", json.dumps(settings), "--root", str(root)]
    argv += ["--ledger", str(root / f"{part}.tsv")]
    argv += ["--endpoint", address] if address else []
    argv += ["--subject", "subj01"] if part != "experiment" else []
    return argv + (["--session", "1", "--out", str(root / "s01")] if part == "session" else [])


def run(part: str, root: Path, address: str | None, **settings) -> None:
    assert fetch.main(arguments(part, root, address, **settings)) == 0


def ledger(path: Path) -> list[list[str]]:
    header, *lines = (line.split("\t") for line in path.read_text().splitlines())
    assert header == ["key", "bytes", "etag", "last_modified", "sha256"]
    return lines


def fetched(folder: Path) -> list[str]:
    """Files in a folder, without the locks of the jobs that worked there."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.suffix != ".lock")
    return sorted(path.relative_to(folder).as_posix() for path in files)


def bytes_of(paths) -> int:
    """Sizes of files that another process may rename at any time."""
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def check_stack(path: Path, folder: Path) -> None:
    content = scipy.io.loadmat(folder / keys.expdesign())
    image_id = np.unique(content["subjectim"][0])
    stack = ImageStack(path)
    np.testing.assert_array_equal(stack.image_id, image_id)
    np.testing.assert_array_equal(stack.read(image_id), pixels()[image_id - 1])
