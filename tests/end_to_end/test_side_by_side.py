"""Compared decoders: their known answer, and their rows of tables and figures."""

import json

import pandas as pd
import pytest
import running
from running import ROOT

from boldvision import plugins
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.runs_table import read_runs

OUT = ROOT / "results" / "miniature" / "side_by_side"
ITEMS = ("table_1", "table_7", "figure_3")


def compared():
    """Rows of table 1 whose answer is known; and the shipped rows, of `ITEMS` theirs alone.

    Other scopes of the configuration need the rows of other items, but for figure 5's.
    """
    config = load_config(read_values([str(ROOT / "config" / "config.yaml")]))
    tables = [read_runs(folder / "runs.tsv") for folder in plugins.found("decoders").values()]
    rows = pd.concat(tables).query("item == 'table_1'")
    known = [
        config.run(run).identified is not None and not config.run(run).lacks()
        for run in rows["run"]
    ]
    rows = rows[known]
    return rows, pd.concat(tables).query(
        "item != 'figure_5' and (item not in @ITEMS or run in @rows.run)"
    )


def snakemake(*arguments):
    """Run Snakemake on the scope of compared decoders."""
    return running.snakemake("--configfile", "tests/end_to_end/side_by_side.yaml", *arguments)


@pytest.fixture(scope="module")
def rows():
    """The runs table: rows as they ship, and of each decoder a curve of its own in figure 5."""
    known, shipped = compared()
    curves = known.assign(item="figure_5", subjects="first", test_set="around", metrics="curve")
    OUT.mkdir(parents=True, exist_ok=True)
    pd.concat([shipped, curves]).to_csv(OUT / "runs.tsv", sep="\t", index=False)
    return known


@pytest.fixture(scope="module")
def answer(rows):
    snakemake("--cores", "all", "--rerun-incomplete")
    return json.loads((OUT / "known_answer.json").read_text())


def test_every_decoder_s_known_answer_holds(rows, answer):
    assert answer["passed"]
    assert {"Dynadiff", "Brain-Diffuser", "MindEye1"} <= set(rows["row"])
    checks = [(f["check"], f["where"]) for f in answer["findings"]]
    for row in rows["row"]:
        assert sum(where.startswith(f"{row}, ") for _, where in checks) == 2  # pixels, AlexNet(2)
        for what in ("chance before the response", "best window"):
            assert (f"{what}, {row}") in [check for check, _ in checks]
        assert f"{row}: averaged repetitions against single trials" in [c for c, _ in checks]


def test_computed_rows_stand_beside_the_published_ones(rows, answer):
    table = pd.read_csv(OUT / "tables" / "table_1.csv")
    for row in rows["row"]:
        sources = set(table.loc[table["row"] == row, "source"])
        assert sources == {"published", "ours"}, row


def test_figures_are_there(answer):
    for figure in ("figure_3", "figure_5"):
        assert (OUT / "figures" / f"{figure}.png").stat().st_size > 10_000
