"""Run Snakemake without disturbing, or being disturbed by, a run in the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_NETWORK = """
import socket
def refuse(*_):
    raise OSError("a dry run needs no network")
socket.socket.connect = refuse
"""


@pytest.fixture(scope="session")
def snakemake(tmp_path_factory):
    """Function that runs Snakemake in an empty folder and returns what it printed."""
    folder = tmp_path_factory.mktemp("empty")
    for name in ("config", "boldvision"):  # settings, and the weights that ship with the library
        (folder / name).symlink_to(ROOT / name)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    environment = os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder)}

    def run(*arguments):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
