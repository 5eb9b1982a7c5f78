from dataclasses import replace

import pandas as pd
import pytest
from figure_data import WINDOWS, time_resolved_splits
from report_data import TIMING

from boldvision.errors import UserError
from boldvision.report import leakage, results


def difference(rows, images, split=leakage.PUBLISHED):
    """To leakage-free, of the General models in the first window."""
    splits = leakage.by_split(results.read(rows), rows)
    one, other = (
        leakage.points(splits[name], WINDOWS)["General"][0]
        for name in (split, leakage.LEAKAGE_FREE)
    )
    return leakage.difference(one, other, "alexnet_2", frozenset(images), samples=200, seed=0)


def drawn(rows, leaks):
    """The figure."""
    splits = leakage.by_split(results.read(rows), rows)
    shown = {"samples": 100, "seed": 0, "note": "note"}
    return leakage.leakage(splits, leaks, "alexnet_2", WINDOWS, TIMING, **shown)


def note(figure):
    """What is said above the panels, in one line."""
    return " ".join(figure.get_suptitle().split())


def curves(axes):
    """Label: the values of each line of a panel that has several."""
    return {
        line.get_label(): list(line.get_ydata())
        for line in axes.lines
        if line.get_marker() not in ("None", None)
    }


def test_leaks_are_test_images_of_excluded_trials(tmp_path):
    _, trials = time_resolved_splits(tmp_path)
    leaks = leakage.find_leaks(*trials)
    assert leaks.leaking == set(range(1, 21))
    assert leaks.others == set(range(21, 41))
    assert leaks.test == leaks.leaking | leaks.others
    assert (leaks.excluded, leaks.published, leaks.leakage_free) == (20, 50, 30)


def test_the_explanation_counts(tmp_path):
    _, trials = time_resolved_splits(tmp_path)
    text = leakage.explanation(leakage.find_leaks(*trials), controlled=True)
    assert "20 of 40 test images are also shown in training, in 20 trials" in text
    assert "30 trials instead of 50" in text
    assert "its difference to leakage-free is that of having seen the image." in text
    assert "On the 20 images that do not leak, as published has more trials alone" in text


def test_without_a_size_matched_model_it_is_not_spoken_of(tmp_path):
    rows, trials = time_resolved_splits(tmp_path)
    figure = drawn(rows[:-1], leakage.find_leaks(*trials))
    told = note(figure)
    assert "size-matched" not in told
    assert "the difference is that of having seen the image and of having more trials." in told
    assert "size-matched" not in curves(figure.axes[0]) | curves(figure.axes[1])


@pytest.mark.parametrize(
    ("split", "images", "expected", "n"),
    [
        (leakage.PUBLISHED, range(1, 21), 0.2, 40),
        (leakage.PUBLISHED, range(21, 41), 0.05, 40),
        (leakage.SIZE_MATCHED, range(1, 21), 0.15, 40),
        (leakage.SIZE_MATCHED, range(21, 31), 0.0, 20),
    ],
)
def test_the_difference_is_of_the_chosen_images(split, images, expected, n, tmp_path):
    score = difference(time_resolved_splits(tmp_path)[0], images, split)
    assert score.value == pytest.approx(expected)
    assert score.n == n
    assert (score.low, score.high) == pytest.approx((expected, expected))  # paired: no spread
    assert score.chance == 0


def test_other_trials_are_not_compared(tmp_path):
    rows, _ = time_resolved_splits(tmp_path)
    free = next(row for row in rows if row["row"] == "General, leakage-free")
    scores = pd.read_parquet(free["parquet"])
    scores[scores["trial"] > 0].to_parquet(free["parquet"])
    with pytest.raises(UserError, match=r"expected the 80 trials .* found 79, 79 of them the same"):
        difference(rows, {1})


@pytest.mark.survives(
    "results",
    "A row of `leakage` whose name says another split than its run has",
    "The job stops and names the row, its run and the run's split",
)
def test_rows_name_a_curve_and_the_split_of_their_run(tmp_path):
    rows, _ = time_resolved_splits(tmp_path)
    splits = leakage.by_split(results.read(rows), rows)
    assert {e.row for models in splits.values() for e in models} == {"General", "Specialized"}
    for name in ("General, leaking", "General, leakage-free", "General"):
        wrong = [rows[0] | {"row": name}, *rows[1:]]
        with pytest.raises(
            UserError, match=f"row '{name}' of run dynadiff_time_resolved, split ti"
        ):
            leakage.by_split(results.read(wrong), wrong)
    for missing in (0, 2):
        some = [row for i, row in enumerate(rows) if i != missing]
        with pytest.raises(UserError, match="leakage: General: expected a row as published and"):
            leakage.by_split(results.read(some), some)


def test_the_figure(tmp_path):
    rows, trials = time_resolved_splits(tmp_path)
    figure = drawn(rows, leakage.find_leaks(*trials))
    general, differences, specialized, of_each_window = figure.axes
    assert list(curves(general)) == ["as published", "leakage-free", "size-matched"]
    assert len({line.get_linestyle() for line in general.lines[:3]}) == 3
    assert len(general.lines[0].get_xdata()) == 3
    assert specialized.lines[0].get_xdata() == pytest.approx([32 / 3, 12])
    assert curves(differences) == {
        "as published": pytest.approx([20] * 3),
        "size-matched": pytest.approx([15] * 3),
        leakage.ON_OTHERS: pytest.approx([5] * 3),
    }
    assert curves(of_each_window) == {
        "as published": pytest.approx([20] * 2), leakage.ON_OTHERS: pytest.approx([5] * 2)
    }  # fmt: skip
    assert differences.get_title("left") == "On the 20 test images that leak"
    assert "note" in figure.get_suptitle()


@pytest.mark.survives(
    "results",
    "A group of test images is too small to tell a difference by (7 to 9 in NSD do not leak)",
    "Nothing is drawn of it, and the figure says how many there are and how few are too few",
)
def test_few_images_tell_nothing(tmp_path):
    rows, trials = time_resolved_splits(tmp_path)
    leaks = leakage.find_leaks(*trials)
    without_21 = replace(leaks, test=leaks.test - {21})
    figure = drawn(rows, without_21)
    assert set(curves(figure.axes[1])) == {"as published", "size-matched"}
    told = note(figure)
    assert "Images that do not leak: 19, too few to tell a difference by (fewer than 20)" in told
    assert "alone" not in told
    figure = drawn(rows, replace(leaks, leaking=frozenset({1, 2, 3})))
    assert set(curves(figure.axes[1])) == {leakage.ON_OTHERS}
    assert "Images that leak: 3, too few" in note(figure)
