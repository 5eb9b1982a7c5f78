import json
from pathlib import Path

import pytest
from report_data import SHIFTS, WINDOWS, curve_rows, evaluation, name, table_rows

from boldvision.errors import UserError
from boldvision.report import curves, results
from boldvision.report.times import shifted, times


def test_scores_and_images_agree(tmp_path):
    (e,) = results.read([evaluation(tmp_path, "Dynadiff", tested=[0, 2])])
    score = e.score("clip", "main+2")
    assert e.images("clip", "main+2")["value"].mean() == pytest.approx(score.value)
    assert score.low < score.value < score.high
    assert e.score("clip") == e.score("clip", "main")


def test_missing_metric_is_named(tmp_path):
    (e,) = results.read([evaluation(tmp_path, "Dynadiff", metrics=["ssim"])])
    with pytest.raises(UserError, match=r"no clip in window main\+2"):
        e.score("clip", "main+2")
    with pytest.raises(UserError, match="values of clip"):
        e.images("clip")


def test_not_a_summary(tmp_path):
    row = evaluation(tmp_path, "Dynadiff")
    Path(row["summary"]).write_text("{}")
    with pytest.raises(UserError, match="protocol"):
        results.read([row])


def test_listed_twice(tmp_path):
    row = evaluation(tmp_path, "Dynadiff")
    with pytest.raises(UserError, match="twice"):
        results.read([row, row])


def test_nothing_listed():
    with pytest.raises(UserError, match="no evaluation"):
        results.read([])


@pytest.mark.parametrize("key", ["protocol", "direction"])
def test_other_scoring_is_refused(key, tmp_path):
    rows = table_rows(tmp_path)
    summary = json.loads(Path(rows[1]["summary"]).read_text())
    Path(rows[1]["summary"]).write_text(json.dumps(summary | {key: "another"}))
    with pytest.raises(UserError, match="another way"):
        results.read(rows)


def test_diagonal_takes_the_general_model_at_its_own_window(tmp_path):
    evaluations = results.read(curve_rows(tmp_path))
    lines = curves.curves(evaluations)
    assert list(lines["General"]) == [name(s) for s in SHIFTS]
    assert set(lines["Specialized"]) == {name(s) for s in (-3, -1, 0, 1, 3)}
    assert lines["Specialized"]["main"].row == "General"
    assert lines["Specialized"]["main+3"].row == "Specialized"
    assert lines["Specialized"]["main+3"].window == "main+3"


def test_no_general_model(tmp_path):
    evaluations = results.read(curve_rows(tmp_path)[1:])
    with pytest.raises(UserError, match="row General, found 0"):
        curves.general(evaluations)


@pytest.mark.parametrize(
    ("window", "first", "upper"),
    [("main", 2, 32 / 3), ("main-8", -6, 0.0), ("main+7", 9, 20.0)],
)
def test_times(window, first, upper):
    t = times(window, WINDOWS)
    assert t.first_row == first
    assert t.upper_end_s == pytest.approx(upper)
    assert t.last_sample_s == pytest.approx(upper - 4 / 3)
    assert t.centre_s == pytest.approx((t.start_s + t.last_sample_s) / 2)


def test_unknown_window():
    with pytest.raises(UserError, match="other"):
        times("other", WINDOWS)


def test_shifted():
    assert shifted("main", 3) == "main+3"
    assert shifted("main+3", -3) == "main"
    assert shifted("main", -8) == "main-8"
