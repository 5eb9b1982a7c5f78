"""A folder served as a bucket around a command."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest

from boldvision.config import S3
from boldvision.datasets.miniature.serve import main, serving
from boldvision.datasets.nsd.s3 import Bucket
from boldvision.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path) -> Path:
    for key in ("nsddata/a.txt", "nsddata_stimuli/b.txt", "other/c.txt"):
        (tmp_path / key).parent.mkdir()
        (tmp_path / key).write_text(key)
    return tmp_path


def serve(folder: Path, *command: str) -> list[str]:
    start = [sys.executable, "-m", "boldvision", "serve", str(folder), "--bucket", "nsd-bucket"]
    return [*start, "--prefix", "nsddata/", "nsddata_stimuli/", "--", *command]


def answers(address: str) -> bool:
    where = urlparse(address)
    try:
        socket.create_connection((where.hostname, where.port), timeout=1).close()
    except OSError:
        return False
    return True


def test_serves_the_prefixes_to_anyone_and_stops(folder):
    with serving(folder, "nsd-bucket", ["nsddata/", "other/"]) as address:
        bucket = Bucket(S3(bucket="nsd-bucket", endpoint=address))
        remotes = bucket.heads(["nsddata/a.txt", "other/c.txt"])
        content = [b"".join(bucket.stream(remote)) for remote in remotes]
        assert content == [b"nsddata/a.txt", b"other/c.txt"]
        with pytest.raises(UserError, match="1 of 1 files are missing"):
            bucket.heads(["nsddata_stimuli/b.txt"])
    assert not answers(address)


def test_stops_when_the_command_fails_and_returns_its_code(folder):
    program = "import sys; print(sys.argv[1:]); sys.exit(7)"
    command = serve(folder, sys.executable, "-c", program, "{endpoint}", "x{endpoint}", "--", "y")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stderr == ""
    address, *rest = eval(done.stdout)
    assert rest == ["x{endpoint}", "--", "y"]
    assert address.startswith("http://127.0.0.1:")
    assert not answers(address)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(folder, number):
    program = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(5))\n"
        "print(sys.argv[1], flush=True)\n"
        "time.sleep(30)\n"
    )
    command = serve(folder, sys.executable, "-c", program, "{endpoint}")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        assert answers(address)
        server.send_signal(number)
        started = time.monotonic()
        assert server.wait(10) == 5
    assert time.monotonic() - started < 5
    assert not answers(address)


def test_a_command_killed_by_a_signal_has_a_shell_s_exit_code(folder):
    command = serve(folder, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 137


def test_bad_input(folder, capsys):
    with pytest.raises(UserError, match="no file whose key begins with 'missing/'"):
        main([str(folder), "--bucket", "nsd-bucket", "--prefix", "missing/", "--", "true"])
    with pytest.raises(UserError, match="no-such-command: cannot be run"):
        main([str(folder), "--bucket", "nsd-bucket", "--", "no-such-command"])
    with pytest.raises(SystemExit):
        main([str(folder), "--bucket", "nsd-bucket"])
    assert "expected -- COMMAND" in capsys.readouterr().err
