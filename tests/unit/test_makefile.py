"""`make` installs what it says where it says, whatever the environment it is called in."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = "show:\n\t@env\n"
ELSEWHERE = {
    "PIP_USER": "1", "PIP_TARGET": "/tmp/x", "PIP_PREFIX": "/tmp/x", "PIP_REQUIRE_HASHES": "1",
    "PIP_REQUIRE_VIRTUALENV": "1", "PIP_DRY_RUN": "1", "PIP_CONSTRAINT": "/tmp/x",
    "UV_SYSTEM_PYTHON": "1", "UV_TARGET": "/tmp/x", "UV_PYTHON": "3.13", "UV_CONSTRAINT": "/tmp/x",
    "PYTHONHOME": "/tmp/x", "PYTHONUSERBASE": "/tmp/x", "PYTHONPATH": "/tmp/x",
}  # fmt: skip
KEPT = {"PIP_INDEX_URL": "https://mirror", "UV_DEFAULT_INDEX": "https://mirror", "PIP_CERT": "a"}


@pytest.mark.survives(
    "places",
    "PIP_USER, PIP_TARGET, UV_SYSTEM_PYTHON, PYTHONHOME or the like are set in the shell",
    "`make` installs into .env all the same; a mirror of the package index is kept",
)
def test_the_shell_does_not_move_the_installation(tmp_path):
    (tmp_path / "show.mk").write_text(SHOW)
    command = ["make", "-s", "-f", str(ROOT / "Makefile"), "-f", str(tmp_path / "show.mk"), "show"]
    environment = os.environ | ELSEWHERE | KEPT
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    own = {"PIP_USER": "0", "PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1"}
    assert own.items() <= found.items()
    assert KEPT.items() <= found.items()
    assert not (ELSEWHERE.keys() - own.keys()) & found.keys()
