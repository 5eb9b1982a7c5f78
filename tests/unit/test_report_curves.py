"""Rows of the runs table are told apart by their models, not by their names."""

import json
from pathlib import Path

import pytest
from report_data import SHIFTS, another_decoder, curve_rows, evaluation, name

from boldvision.errors import UserError
from boldvision.report import curves, results
from boldvision.report.tables import by_row


def test_diagonal_takes_the_general_model_at_its_own_window(tmp_path):
    evaluations = results.read(curve_rows(tmp_path))
    lines = curves.curves(evaluations)
    assert list(lines["General"]) == [name(s) for s in SHIFTS]
    assert set(lines["Specialized"]) == {name(s) for s in (-3, -1, 0, 1, 3)}
    assert lines["Specialized"]["main"].row == "General"
    assert lines["Specialized"]["main+3"].row == "Specialized"
    assert lines["Specialized"]["main+3"].window == "main+3"


def test_a_model_per_window_alone_is_a_curve(tmp_path):
    evaluations = results.read(curve_rows(tmp_path)[1:])
    assert {row: len(shown) for row, shown in curves.curves(evaluations).items()} == {
        "Specialized": 4
    }
    assert curves.one_models(evaluations) == {}
    assert curves.origin(evaluations) == "main"


@pytest.mark.survives(
    "results",
    "Rows of a curve that are not called General or Specialized, or of another decoder",
    "What a row is, its training windows tell; each decoder's curve has its own models alone",
)
def test_rows_are_what_they_are_not_what_they_are_called(tmp_path):
    rows = [*another_decoder(tmp_path / "b"), *curve_rows(tmp_path / "a", metrics=["ssim"])]
    evaluations = results.read(rows)
    lines = curves.curves(evaluations)
    assert list(lines) == ["Ridge", "Ridge, each shift", "General", "Specialized"]
    assert [len(shown) for shown in lines.values()] == [16, 3, 16, 5]
    assert list(curves.one_models(evaluations)) == ["Ridge", "General"]
    assert {e.run for e in lines["Ridge, each shift"].values()} == {"ridge_time_resolved"}
    assert lines["Ridge, each shift"]["main"].row == "Ridge"
    assert lines["Specialized"]["main"].row == "General"


def test_a_model_of_another_window_completes_no_row(tmp_path):
    rows = curve_rows(tmp_path, metrics=["ssim"], specialized=(1,))
    assert set(curves.curves(results.read(rows))["Specialized"]) == {"main", "main+1"}
    short = evaluation(tmp_path, "Short", metrics=["ssim"], run="dynadiff_time_resolved")
    short["window"] = "main_1tr+1"
    summary = json.loads(Path(short["summary"]).read_text())
    summary["windows"] = {"main_1tr+1": summary["windows"]["main"]}
    Path(short["summary"]).write_text(json.dumps(summary))
    assert set(curves.curves(results.read([*rows, short]))["Short"]) == {"main_1tr+1"}


@pytest.mark.survives(
    "results",
    "Two lines of the runs table give different models the same row name",
    "The job stops and names the row and both models, and mixes neither",
)
def test_a_row_is_one_run(tmp_path):
    rows = curve_rows(tmp_path / "a", metrics=["ssim"])
    other = another_decoder(tmp_path / "b")[1] | {"row": "Specialized"}
    with pytest.raises(UserError, match=r"row 'Specialized': expected one run.*ridge_time_resolve"):
        curves.curves(results.read([*rows, other]))
    table = [
        evaluation(tmp_path / run, "Dynadiff", metrics=["ssim"], run=run) for run in ("a", "b")
    ]
    with pytest.raises(UserError, match=r"row 'Dynadiff': expected one model of subj01, found a"):
        by_row(results.read(table))
