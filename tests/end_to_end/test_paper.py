"""Every table and figure of the paper, with models that are hardly trained (``thin.yaml``)."""

import json

import pandas as pd
import pytest
import running
import yaml
from running import ROOT, jobs

from boldvision.trials.table import read_split, read_trials
from tests.unit.config_data import runs_table, write_runs_table

OUT = ROOT / "results" / "miniature" / "thin"
TABLES = [*(f"table_{number}" for number in range(1, 9)), "differences"]
FIGURES = [
    *(f"figure_{number}" for number in range(3, 10)),
    "figure_4_leakage_free",
    "figure_5_leakage_free",
    "temporal_generalization",
    "temporal_generalization_leakage_free",
    "leakage",
]
FILES = [
    *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")),
    *(f"figures/{name}.{kind}" for name in FIGURES for kind in ("pdf", "png")),
    *("scorecard.csv", "scorecard.html", "gallery/index.html"),
]


def snakemake(*arguments):
    """Run Snakemake, thinned."""
    return running.snakemake("--configfile", "tests/end_to_end/thin.yaml", *arguments)


@pytest.fixture(scope="module", autouse=True)
def finished():
    """Make what is missing."""
    thin = yaml.safe_load((ROOT / "tests" / "end_to_end" / "thin.yaml").read_text())
    names = {name.replace("thin", "dynadiff"): name for name in thin["runs"]}
    write_runs_table(runs_table().replace({"run": names}), ROOT / thin["runs_table"])
    snakemake("--cores", "all", "--rerun-incomplete")


@pytest.mark.parametrize("file", FILES)
def test_file_is_there(file):
    assert (OUT / file).stat().st_size > 100


def test_second_run_does_nothing():
    assert "Nothing to be done" in snakemake("--cores", "1")


def test_one_ablation_s_setting_reruns_only_its_models(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("runs: {thin_frozen: {training: {learning_rate: 0.005}}}\n")
    planned = jobs(snakemake("--dry-run", "--configfile", "tests/end_to_end/thin.yaml", str(mine)))
    assert planned["dynadiff_train"] == planned["reconstruct"] == planned["evaluate"] == 2
    makes = {rule: n for rule, n in planned.items() if rule.startswith("make_")}
    assert makes == {"make_table": 1, "make_differences": 1, "make_scorecard": 1}


@pytest.mark.parametrize("number", range(1, 9))
def test_published_columns_are_the_paper_s(number):
    ours = pd.read_csv(OUT / "tables" / f"table_{number}.csv")
    published = pd.read_csv(ROOT / "boldvision" / "report" / "published_tables.csv")
    expected = published.loc[published["table"] == number, "value"]
    found = ours.loc[ours["source"] == "published", "value"]
    assert sorted(found) == sorted(expected)


def test_the_published_split_leaks_and_the_other_does_not():
    results = ROOT / "results" / "miniature"
    trials = read_trials(results / "trials" / "subj01.parquet")

    def images(split, part):
        parts = read_split(results / "splits" / split / "subj01.parquet", trials)
        return set(trials.loc[parts == part, "image_id"])

    test = images("time_resolved", "test")
    assert test == images("time_resolved_leakage_free", "test")
    assert test & images("time_resolved", "train")
    assert not test & images("time_resolved_leakage_free", "train")


def test_report_has_every_caption(tmp_path):
    report = tmp_path / "report.html"
    snakemake("--report", str(report))
    text = report.read_text()
    for name in ("Table 2", "Figure 9", "Leakage", "Differences", "Scorecard"):
        assert json.dumps(name)[1:-1] in text, name
