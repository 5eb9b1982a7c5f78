"""Whatever a configuration may say, its shell commands do what the rules say and nothing else."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "unit"))
from whole_config import whole_config  # noqa: E402

HOSTILE = """my data$(touch PWNED);'`touch PWNED`"|&> PWNED #"""
RECORD = '#!/bin/sh\nprintf "%s\\n" "$@" >> "$RECORD"\n'
TARGETS = ["table_1", "table_4", "table_5", "resources/generators/tiny"]


def hostile_config(place):
    values = whole_config()
    values["scopes"]["demo"]["subjects"] = ["subj01"]
    values["metrics"]["weights_folder"] = f"{place}/weights"
    values["generators"]["fetched"]["folder"] = f"{place}/generator"
    values["targets"]["fetched"] = {"kind": "vae", "generator": "fetched"}
    values["runs"]["dynadiff"] |= {"generator": "fetched", "latents": "fetched"}
    values["runs"]["dynadiff"]["training"]["deepspeed"] = f"{place}/zero.json"
    fmriprep = values["preprocessing"]["fmriprep"]
    fmriprep["derivatives"] = None
    fmriprep["job"] |= {name: f"{place}/{name}" for name in ("image", "licence", "work")}
    values["s3"] |= {"serve": f"{place}/bucket", "endpoint": None}
    values["raw"] = None
    labelled = [*values["generators"].values(), *values["metrics"]["networks"].values()]
    for one in labelled:
        one["label"] = place
    return values


def commands(snakemake, values, folder):
    """Shell commands of a dry run, every one a line."""
    for name in ("bucket", "raw"):
        (folder / HOSTILE / name).mkdir(parents=True, exist_ok=True)
    (folder / HOSTILE / "zero.json").touch()
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    printed = snakemake(
        "--dry-run", "--printshellcmds", "--configfile", "mine.yaml", "--", *TARGETS, place=folder
    )
    return re.findall(r"^Shell command: (?!None$)(.*)$", printed, re.MULTILINE)


def run(lines, folder):
    """Run them with a Python that only writes its arguments down; return these."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text(RECORD)
    (folder / "bin" / "python").chmod(0o755)
    record = folder / "record"
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "RECORD": str(record)}
    for line in lines:
        (folder / shlex.split(line)[-1]).parent.mkdir(parents=True, exist_ok=True)  # of the log
        subprocess.run(["bash", "-c", line], cwd=folder, env=environment, check=True)
    assert not list(folder.rglob("PWNED"))
    return record.read_text().splitlines()


@pytest.mark.survives(
    "names",
    "A folder of the configuration has blanks, quotes or shell commands in its name",
    "It is one word of every command",
)
@pytest.mark.parametrize("source", ["serve", "raw"])
def test_hostile_folders_are_words(snakemake, tmp_path, source):
    values = hostile_config(HOSTILE)
    if source == "raw":
        values |= {"raw": f"{HOSTILE}/raw", "nsd_terms_accepted": True, "miniature": None}
        values["s3"]["serve"] = None
    lines = commands(snakemake, values, tmp_path)
    stages = {match for line in lines for match in re.findall(r"-m boldvision ([\w.]+)", line)}
    assert {
        "fetch",
        "generator",
        "weights",
        "fmriprep",
        "dynadiff.train",
        "target",
        "evaluate",
        "pretrain",
    } < stages
    words = run(lines, tmp_path)
    for name in ("generator", "weights/miniature.tsv"):
        assert f"{HOSTILE}/{name}" in words
    assert (f"{HOSTILE}/bucket" in words) is (source == "serve")


@pytest.mark.parametrize(
    ("section", "name"), [("subjects", "subj01$(touch PWNED)"), ("scopes", "../../../escaped")]
)
def test_hostile_names_stop_the_workflow(snakemake, tmp_path, section, name):
    values = whole_config()
    values[section][name] = values[section].popitem()[1]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    told = snakemake("--dry-run", "--configfile", "mine.yaml", place=tmp_path, fails=True)
    assert "WorkflowError" in told
    assert f"{section}.{name}: expected a name of a-z, 0-9 and _, a letter first, found" in told
    assert not (tmp_path / "PWNED").exists()


def test_every_word_of_a_command_is_quoted():
    """But for `params.served`, which `Jobs.served` makes of quoted words."""
    for file in [*ROOT.glob("workflow/rules/*.smk"), *ROOT.glob("boldvision/decoders/*/rules.smk")]:
        for body in re.findall(r"    shell:\n((?:        .*\n)+)", file.read_text()):
            words = set(re.findall(r"\{[^{}]+\}", body)) - {"{params.served}"}
            assert all(word.endswith(":q}") for word in words), file
