import pandas as pd
import pytest
from figure_data import WINDOWS, both_splits

from boldvision.errors import UserError
from boldvision.report import leakage, results


def difference(rows, images):
    """Of the General models in the first window."""
    splits = leakage.by_split(results.read(rows), rows)
    one, other = (
        leakage.points(splits[split], WINDOWS)["General"][0]
        for split in (leakage.PUBLISHED, leakage.LEAKAGE_FREE)
    )
    return leakage.difference(one, other, "alexnet_2", frozenset(images), samples=200, seed=0)


def test_leaks_are_test_images_of_excluded_trials(tmp_path):
    _, trials = both_splits(tmp_path)
    leaks = leakage.find_leaks(trials)
    assert leaks.test == set(range(1, 21))
    assert leaks.leaking == set(range(1, 16))
    assert (leaks.excluded, leaks.published, leaks.leakage_free) == (15, 45, 30)
    assert leaks.groups == {
        "leaking": frozenset(range(1, 16)),
        "not leaking": frozenset(range(16, 21)),
    }


def test_the_explanation_counts(tmp_path):
    _, trials = both_splits(tmp_path)
    text = leakage.explanation(leakage.find_leaks(trials))
    assert "15 of 20 test images are also shown in training, in 15 trials" in text
    assert "30 trials instead of 45" in text
    assert "on the others, of more trials alone" in text


def test_where_every_image_leaks_nothing_is_claimed(tmp_path):
    _, trials = both_splits(tmp_path)
    leaks = leakage.find_leaks(trials[(trials["image_id"] <= 15) | (trials["image_id"] >= 100)])
    assert set(leaks.groups) == {"leaking"}
    assert "cannot be told apart" in leakage.explanation(leaks)


@pytest.mark.parametrize(
    ("images", "expected", "n"), [(range(1, 16), 0.2, 30), (range(16, 21), 0.05, 10)]
)
def test_the_difference_is_of_the_chosen_images(images, expected, n, tmp_path):
    score = difference(both_splits(tmp_path)[0], images)
    assert score.value == pytest.approx(expected)
    assert score.n == n
    assert (score.low, score.high) == pytest.approx((expected, expected))  # paired: no spread
    assert score.chance == 0


def test_other_trials_are_not_compared(tmp_path):
    rows, _ = both_splits(tmp_path)
    free = next(row for row in rows if row["row"] == "General, leakage-free")
    scores = pd.read_parquet(free["parquet"])
    scores[scores["trial"] > 0].to_parquet(free["parquet"])
    with pytest.raises(UserError, match=r"expected the 40 trials .* found 39, 39 of them the same"):
        difference(rows, {1})


@pytest.mark.survives(
    "results",
    "A row of `leakage` whose name says another split than its run has",
    "The job stops and names the row, its run and the run's split",
)
def test_rows_name_a_curve_and_the_split_of_their_run(tmp_path):
    rows, _ = both_splits(tmp_path)
    splits = leakage.by_split(results.read(rows), rows)
    assert {e.row for models in splits.values() for e in models} == {"General", "Specialized"}
    for name in ("General, leaking", "General, leakage-free", "General"):
        wrong = [rows[0] | {"row": name}, *rows[1:]]
        with pytest.raises(
            UserError, match=f"row '{name}' of run dynadiff_time_resolved, split ti"
        ):
            leakage.by_split(results.read(wrong), wrong)
    with pytest.raises(UserError, match="leakage: Specialized: expected a row of either split"):
        leakage.by_split(results.read(rows[:3]), rows[:3])


def test_the_figure(tmp_path):
    rows, trials = both_splits(tmp_path)
    leaks = leakage.find_leaks(trials)
    figure = leakage.leakage(
        leakage.by_split(results.read(rows), rows),
        leaks,
        "alexnet_2",
        WINDOWS,
        samples=100,
        seed=0,
        note="note",
    )
    general, differences, specialized, _ = figure.axes
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    assert lines["as published"].get_linestyle() != lines["leakage-free"].get_linestyle()
    assert len(general.lines[0].get_xdata()) == 3
    assert specialized.lines[0].get_xdata() == pytest.approx([32 / 3, 12])
    leaking = lines["Leaking test images (n = 15)"]
    assert differences.lines[0].get_ydata() == pytest.approx([20] * 3)
    assert leaking.get_ydata() == pytest.approx([20] * 2)
    assert lines["Not leaking test images (n = 5)"].get_ydata() == pytest.approx([5] * 2)
    assert "note" in figure.get_suptitle()
