"""The workflow runs in any folder, and as a module of another workflow."""

import re
from pathlib import Path

import pytest
import yaml

from tests.unit.config_data import runs_table, write_runs_table

ROOT = Path(__file__).parents[2]

USER = f"""
configfile: "mine.yaml"

module boldvision:
    snakefile: "{ROOT / "Snakefile"}"
    config: config

use rule * from boldvision

rule library:
    output: "found"
    shell: "cd /; python -c 'import boldvision; print(boldvision.__path__)' > $OLDPWD/{{output}}"
"""


@pytest.mark.survives(
    "places",
    "Started in another folder, with its own results there",
    "Default configuration, runs table and tiny generator are found beside the Snakefile",
)
def test_default_configuration_and_weights_are_found(snakemake, tmp_path):
    printed = snakemake("--dry-run", "--printshellcmds", "--", "table_1", place=tmp_path)
    assert f'"folder": "{ROOT}/boldvision/generators/tiny"' in printed
    assert f"{ROOT}/profiles/default" in printed


@pytest.mark.survives(
    "places",
    "Used as a module of another workflow, with another configuration",
    "Its rules are planned and run in that workflow's folder; jobs find the library",
)
def test_it_is_a_module_of_another_workflow(snakemake, tmp_path):
    values = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    values |= {"dataset": "mine", "runs_table": "mine.tsv"}
    values["scopes"]["demo"]["items"] = ["gallery"]
    values["s3"]["serve"] = "resources/mine/bucket"
    table = runs_table()
    of_gallery = table["run"].isin(["dynadiff", "mean_image"]) & (table["item"] == "gallery")
    write_runs_table(table[of_gallery], tmp_path / "mine.tsv")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "Snakefile").write_text(USER)
    own = {"place": tmp_path, "snakefile": tmp_path / "Snakefile"}
    printed = snakemake("--dry-run", "--quiet", "rules", "--", "gallery", **own)
    assert re.search(r"^dynadiff_train +2$", printed, re.MULTILINE)
    snakemake("--cores", "1", "--", "plan_paper", "library", **own)
    assert (tmp_path / "results" / "mine" / "paper" / "plan.tsv").is_file()
    assert str(ROOT / "boldvision") in (tmp_path / "found").read_text()
