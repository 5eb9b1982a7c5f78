"""A decoder outside of the project, made of the files that CONTRIBUTING.md shows, in table 1."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from running import ROOT, jobs, snakemake

from boldvision.plugins import VARIABLE

NAME = "ridge"
SHOWN = re.compile(r"^\*\*`([\w.]+)`\*\*:.*?^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A file of the decoder on that page: its name, and what is in it."""
TABLE = ROOT / "results" / "miniature" / "plugin" / "tables" / "table_1.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that `plugins` names."""
    mine = tmp_path_factory.mktemp("mine")
    own = mine / "decoders" / NAME
    own.mkdir(parents=True)
    for file, text in SHOWN.findall((ROOT / "CONTRIBUTING.md").read_text()):
        (own / file).write_text(text)
    return mine


@pytest.fixture(scope="module")
def configfile(folder, tmp_path_factory):
    """A configuration of one subject and one item, which shares the data of the default run."""
    scope = {"items": ["table_1"], "subjects": ["subj01"], "specialized_shifts": []}
    values = {
        "plugins": [str(folder)],
        "scope": "plugin",
        "scopes": {"plugin": scope | {"known_answer": False}},
    }
    file = tmp_path_factory.mktemp("config") / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    return str(file)


def test_its_row_is_in_table_1(configfile):
    snakemake("table_1", "--cores", "all", "--rerun-incomplete", "--configfile", configfile)
    table = pd.read_csv(TABLE)
    ours = table[(table["source"] == "ours") & (table["row"] == "Ridge")]
    score = ours.set_index("metric")["value"]
    assert len(score) == 10
    assert score["pixcorr"] > 0.3
    assert score["alexnet_2"] > 60
    assert "Nothing to be done" in snakemake("table_1", "--cores", "1", "--configfile", configfile)


def test_an_edit_of_its_stage_runs_that_stage_again(configfile, folder):
    with open(folder / "decoders" / NAME / "spread.py", "a") as file:
        file.write("\nunused = 1\n")
    planned = jobs(snakemake("table_1", "--dry-run", "--configfile", configfile))
    assert planned["ridge_spread"] == planned["reconstruct"] == planned["evaluate"] == 1
    assert "ridge_fit" not in planned


def test_it_keeps_what_every_decoder_keeps(folder):
    tests = [sys.executable, "-m", "pytest", "tests/unit/test_decoders.py", "-k", NAME]
    done = subprocess.run(
        tests, cwd=ROOT, env=os.environ | {VARIABLE: str(folder)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout or "100%" in done.stdout
