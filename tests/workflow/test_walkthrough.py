"""Every command that the documents show to a user of real data is accepted."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["docs/real_data.md", "profiles/README.md", "config/nsd_small.yaml"]
SLURM = importlib.util.find_spec("snakemake_executor_plugin_slurm")


def shown(document):
    """Commands in a document's blocks, or in the comments of a configuration."""
    text = (ROOT / document).read_text()
    if document.endswith(".yaml"):
        lines = re.findall(r"^#   (.*)$", text, re.MULTILINE)
    else:
        blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if re.match(r"snakemake |python -m boldvision ", line)]


COMMANDS = sorted({command for document in DOCUMENTS for command in shown(document)})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the configurations, and the one that the walk-through writes."""
    folder = tmp_path_factory.mktemp("walkthrough")
    for name in ("config", "profiles", "boldvision"):
        (folder / name).symlink_to(ROOT / name)
    (mine,) = re.findall(
        r"^```yaml\n(# mine\.yaml\n.*?)^```$",
        (ROOT / DOCUMENTS[0]).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    (folder / "mine.yaml").write_text(mine)
    return folder


def planned(snakemake, place, command):
    """Jobs of each rule that a command would run."""
    options = shlex.split(command)[1:]
    if "profiles/slurm" in options and not SLURM:
        options[options.index("profiles/slurm")] = "profiles/workstation"
    printed = snakemake(*options, "--dry-run", "--quiet", "rules", "--nolock", place=place)
    table = printed.split("Job stats:")[1].split("\n\n")[0]
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def test_documents_show_commands():
    assert len(COMMANDS) >= 8
    assert any(command.startswith("snakemake downloads ") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_accepted(snakemake, place, command):
    if command.startswith("snakemake "):
        assert planned(snakemake, place, command)["total"] > 1
        return
    words = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "time series" in done.stdout


@pytest.mark.parametrize("options", ["", "--configfile config/nsd.yaml"])
def test_downloads_are_all_that_the_rest_would_fetch(snakemake, place, options):
    fetched, all_of_it = (
        {
            rule: n
            for rule, n in planned(snakemake, place, f"snakemake {target} {options}").items()
            if rule.startswith(("download_", "fetch_"))
        }
        for target in ("downloads", "all")
    )
    assert fetched == all_of_it
    assert len(fetched) >= 5


def test_the_small_configuration_is_one_model(snakemake, place):
    (command,) = [c for c in shown("config/nsd_small.yaml") if c.startswith("snakemake")]
    found = planned(snakemake, place, command)
    assert found["dynadiff_train"] == found["reconstruct"] == found["evaluate"] == 1
    assert found["prepare_session"] == 40
    assert "make_scorecard" not in found  # there is no table
