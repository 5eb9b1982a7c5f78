"""The default workflow, in place: what `make demo` has made is not made again."""

import json

import pytest
from running import ROOT, jobs, snakemake

OUT = ROOT / "results" / "miniature" / "demo"
ITEMS = {
    "tables": [f"table_{n}.{kind}" for n in (1, 6) for kind in ("csv", "md", "tex")],
    "figures": [
        f"{name}.{kind}"
        for name in ("figure_4", "figure_5", "temporal_generalization")
        for kind in ("pdf", "png")
    ],
    ".": ["scorecard.csv", "scorecard.html", "known_answer.json"],
}
FILES = [OUT / folder / name for folder, names in ITEMS.items() for name in names]


@pytest.fixture(scope="module", autouse=True)
def finished():
    """Run what is missing."""
    snakemake("--cores", "all", "--rerun-incomplete")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_is_there(file):
    assert file.stat().st_size > 100


def test_known_answer_comes_out():
    record = json.loads((OUT / "known_answer.json").read_text())
    assert record["passed"]
    assert len(record["findings"]) >= 4
    assert all(finding["passed"] for finding in record["findings"])


@pytest.mark.parametrize("file", [f for f in FILES if "table" in f.name or "score" in f.name])
def test_simulated_numbers_say_so(file):
    text = file.read_text()
    assert "miniature" in text
    assert "not comparable" in text.lower()


def test_second_run_does_nothing():
    assert "Nothing to be done" in snakemake("--cores", "1")


def test_a_deleted_figure_reruns_its_script_alone():
    figure = OUT / "figures" / "figure_5.pdf"
    before = figure.read_bytes()
    figure.unlink()
    done = jobs(snakemake("--cores", "1", "figure_5"))
    assert done == {"make_figure_5": 1, "figure_5": 1, "total": 2}
    assert figure.read_bytes() == before


def test_a_run_s_setting_reruns_only_what_depends_on_it(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("runs: {dynadiff_time_resolved: {training: {learning_rate: 0.005}}}\n")
    planned = jobs(snakemake("--dry-run", "--configfile", str(mine)))
    figures = {"make_figure_4", "make_figure_5", "make_temporal_generalization"}
    models = {"dynadiff_train", "reconstruct", "evaluate"}
    assert set(planned) == {*models, *figures, "check_known_answer", "all", "total"}
    assert planned["dynadiff_train"] == 1 + 4
    assert planned["reconstruct"] == planned["evaluate"] == 2 + 2 * 4  # General: shifts and matrix


def test_report_has_the_captions(tmp_path):
    report = tmp_path / "report.html"
    snakemake("--report", str(report))
    text = report.read_text()
    for title in ("Table 1", "Table 6", "Figure 4", "Figure 5", "Scorecard", "Known answer"):
        assert title in text, title
