import pytest
from figure_data import around, few_sessions, model

from boldvision.errors import UserError
from boldvision.report import results
from boldvision.report.figure_9 import NOT_PRETRAINED, PRETRAINED, figure_9, points


def test_sessions_are_read_from_the_run(tmp_path):
    curves = points(results.read(few_sessions(tmp_path, ["ssim"])[::-1]), all_sessions=40)
    assert set(curves) == {PRETRAINED, NOT_PRETRAINED}
    for curve in curves.values():
        assert [point.x for point in curve] == [1, 2, 5, 10, 20, 40]
        assert curve[-1].evaluation.run in ("dynadiff", "dynadiff_pretrained")
        assert curve[1].evaluation.run.endswith("-2sessions")


def test_curves_and_ticks(tmp_path):
    figure = figure_9(results.read(few_sessions(tmp_path, ["ssim"])), ["ssim"], 40)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines[PRETRAINED].get_linestyle() != lines[NOT_PRETRAINED].get_linestyle()
    assert lines[PRETRAINED].get_marker() != lines[NOT_PRETRAINED].get_marker()
    assert lines[PRETRAINED].get_ydata()[0] > lines[NOT_PRETRAINED].get_ydata()[0]
    assert lines["Chance"].get_ydata() == pytest.approx([0.5] * 6)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "5", "10", "20", "40"]
    assert len(axes.get_xticks(minor=True)) == 0
    assert len(axes.collections) == 2  # a band and bars


def test_any_row_is_a_curve(tmp_path):
    rows = few_sessions(tmp_path, ["ssim"])
    rows.append(model(tmp_path, "Ridge", {"main": {"ssim": around(0.5)}}, run="ridge-2sessions"))
    (axes,) = figure_9(results.read(rows), ["ssim"], 40).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["Ridge"].get_xdata() == [2]
    assert len({lines[row].get_color() for row in ("Ridge", PRETRAINED, NOT_PRETRAINED)}) == 3


@pytest.mark.survives(
    "results",
    "A row of figure 9 with two models of as many sessions",
    "The job stops and names the row and both runs",
)
def test_a_row_has_one_model_of_as_many_sessions(tmp_path):
    rows = few_sessions(tmp_path, ["ssim"])
    scores = {"main": {"ssim": around(0.5)}}
    rows.append(model(tmp_path, PRETRAINED, scores, run="ridge-2sessions"))
    with pytest.raises(UserError, match=r"row 'Pretrained': expected one model of 2 sessions"):
        figure_9(results.read(rows), ["ssim"], 40)
