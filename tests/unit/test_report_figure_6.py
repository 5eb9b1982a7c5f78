import pytest
from figure_data import WINDOWS, durations

from boldvision.errors import UserError
from boldvision.report import results
from boldvision.report.figure_6 import figure_6


def test_scores_over_the_duration_in_seconds(tmp_path):
    evaluations = results.read(durations(tmp_path))
    figure = figure_6(evaluations, ["alexnet_2", "clip"], WINDOWS)
    axes = figure.axes[0]
    curve, chance = axes.lines
    assert curve.get_xdata() == pytest.approx([n * 4 / 3 for n in range(1, 7)])
    assert curve.get_ydata() == pytest.approx([100 * (0.95 - 0.3 / n) for n in range(1, 7)])
    assert chance.get_ydata() == pytest.approx([50] * 6)
    low = axes.collections[0].get_paths()[0].vertices[:, 1].min()
    assert low == pytest.approx(100 * evaluations[-1].score("alexnet_2").low)
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ("1.3\n(1)", "8.0\n(6)")
    assert figure.axes[1].get_title() == "random weights"
    assert figure.axes[1].get_xlabel() == "Duration from 2.7 s after image onset: s (TRs)"


def test_windows_start_together(tmp_path):
    windows = WINDOWS | {"main_2tr": {"start_s": 4.0, "n_tr": 2}}
    with pytest.raises(UserError, match="expected one start and 6 durations, found 2 and 6"):
        figure_6(results.read(durations(tmp_path)), ["clip"], windows)


def test_a_duration_has_one_model(tmp_path):
    windows = WINDOWS | {"main_2tr": {"start_s": 3.0, "n_tr": 3}}
    with pytest.raises(UserError, match="found 1 and 5"):
        figure_6(results.read(durations(tmp_path)), ["clip"], windows)


@pytest.mark.survives(
    "results",
    "Models of another decoder among the durations of figure 6",
    "They are a curve of their own, named by their run",
)
def test_a_run_is_a_curve(tmp_path):
    rows = durations(tmp_path / "one", ["clip"])
    rows += [row | {"run": "mean_image"} for row in durations(tmp_path / "other", ["clip"])[:3]]
    (axes,) = figure_6(results.read(rows), ["clip"], WINDOWS).axes
    points = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert points == {"Dynadiff": 6, "Mean image": 3, "Chance": 6}
    assert len(axes.get_xticks()) == 6
