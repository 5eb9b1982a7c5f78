import json
from pathlib import Path

import pandas as pd
import pytest
from report_data import TR_S, WINDOWS, evaluation, table_rows

from boldvision.errors import UserError
from boldvision.report import figure_5, results
from boldvision.report.times import one_period, shifted, times


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


@pytest.mark.parametrize(
    ("window", "first", "upper"),
    [("main", 2, 32 / 3), ("main-8", -6, 0.0), ("main+7", 9, 20.0)],
)
def test_times(window, first, upper):
    t = times(window, WINDOWS, TR_S)
    assert t.first == first
    assert t.upper_end_s == pytest.approx(upper)
    assert t.last_sample_s == pytest.approx(upper - 4 / 3)
    assert t.centre_s == pytest.approx((t.start_s + t.last_sample_s) / 2)


@pytest.mark.parametrize("tr_s", [TR_S, 1.6])
def test_a_shift_moves_the_time_axis_by_one_sample_of_the_series(tr_s):
    main, later = (times(name, WINDOWS, tr_s) for name in ("main", "main+1"))
    assert later.upper_end_s - main.upper_end_s == pytest.approx(tr_s)
    assert main.duration_s == pytest.approx(6 * tr_s)
    assert abs(main.start_s - 3.0) <= tr_s / 2


def test_points_lie_at_the_times_of_their_own_series(tmp_path):
    rows = [evaluation(tmp_path, "General", tested=[-1, 0, 2], run="one")]
    (slow,) = figure_5.points(results.read([rows[0] | {"tr_s": 1.6}]), WINDOWS).values()
    assert [p.x for p in slow] == pytest.approx([1.6 * n for n in (7, 8, 10)])
    (fast,) = figure_5.points(results.read(rows), WINDOWS).values()
    assert [p.x for p in fast] == pytest.approx([4 / 3 * n for n in (7, 8, 10)])


def test_betas_have_no_time_and_one_axis_one_sampling_period(tmp_path):
    row = evaluation(tmp_path, "Dynadiff", run="one")
    betas, slow = row | {"tr_s": None}, row | {"run": "two", "tr_s": 1.6}
    with pytest.raises(UserError, match="runs one: expected models over time series, found betas"):
        one_period(results.read([betas]))
    with pytest.raises(UserError, match="window main: expected models over time series"):
        times("main", WINDOWS, None)
    with pytest.raises(UserError, match=r"one sampling period \(s\) on one axis, found one 1\.3"):
        one_period(results.read([row, slow]))
    assert one_period(results.read([slow])) == 1.6


def test_unknown_window():
    with pytest.raises(UserError, match="other"):
        times("other", WINDOWS, TR_S)


def test_shifted():
    assert shifted("main", 3) == "main+3"
    assert shifted("main+3", -3) == "main"
    assert shifted("main", -8) == "main-8"


@pytest.mark.survives(
    "files",
    "The scores of a model are cut, of another kind, or hold what is no number",
    "No table or figure is made of them; the message names the file",
)
@pytest.mark.parametrize(
    "content", ["{", "[1]", "<html></html>", "", '{"protocol": 1}', "nan", "text"]
)
def test_summaries_that_are_not(tmp_path, content):
    row = evaluation(tmp_path, "Dynadiff")
    path = Path(row["summary"])
    summary = json.loads(path.read_text())
    if content in ("nan", "text"):
        first = next(iter(summary["windows"]["main"].values()))
        first["value"] = float("nan") if content == "nan" else "0.5"
        content = json.dumps(summary)
    path.write_text(content)
    with pytest.raises(UserError, match=rf"{path.name}: expected the summary .*, found"):
        results.read([row])


@pytest.mark.parametrize("change", ["cut", "html", "column", "text", "gap", "gone"])
def test_scores_that_are_not(tmp_path, change):
    row = evaluation(tmp_path, "Dynadiff")
    (e,) = results.read([row])
    images = pd.read_parquet(e.parquet)
    if change == "column":
        images.drop(columns="trial").to_parquet(e.parquet)
    if change == "text":
        images.assign(value="0.5").to_parquet(e.parquet)
    if change == "gap":
        images.assign(value=images["value"].where(images["trial"] > 3)).to_parquet(e.parquet)
    if change == "cut":
        e.parquet.write_bytes(e.parquet.read_bytes()[:-50])
    if change == "html":
        e.parquet.write_text("<html></html>")
    if change == "gone":
        e.parquet.unlink()
    with pytest.raises(UserError, match=rf"{e.parquet.name}: expected scores .*, found"):
        e.images("clip")
