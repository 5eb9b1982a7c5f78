from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from boldvision.report import published

MIOU_AS = ("miou", "dreamsim")
SHARED = Path(__file__).parents[2].parent / "shared" / "paper" / "published_tables.csv"


@pytest.mark.skipif(not SHARED.is_file(), reason="the transcription of the paper is not here")
def test_equals_the_transcription():
    pd.testing.assert_frame_equal(pd.read_csv(published.FILE), pd.read_csv(SHARED))


def test_every_metric_has_a_name():
    assert published.tables()["metric"].notna().all()
    assert set(published.tables()["metric"]) == set(published.METRICS)


def test_lookup():
    assert published.lookup(1, "mean", "Dynadiff", "dreamsim") == (52.52, 0.97)
    value, sem = published.lookup(6, "subj05", "MindEye2", "clip")
    assert value == 92.42
    assert np.isnan(sem)
    assert published.lookup(6, "mean", "Brain-Diffuser", "clip") is None


@pytest.mark.parametrize(
    ("table", "subject", "row", "metric", "word"),
    [
        (2, "mean", "timestep layers, aggregation OUT (Dynadiff)", "clip", "disagree"),
        (3, "mean", "LoRA on cross-attention (25M)", "alexnet_2", "disagree"),
        (1, "mean", "Dynadiff", "clip", "3.15"),
        (2, "mean", "timestep layers, aggregation OUT (Dynadiff)", "miou", "0.97"),
        (3, "mean", "LoRA on cross-attention (25M)", "miou", "0.97"),
        (2, "mean", "without timestep layers, aggregation OUT", "clip", "7.01"),
        (4, "mean", "UMBRAE", "efficientnet", "DREAM"),
        (5, "mean", "Dynadiff w/ NSD prep.", "ssim", "which subjects"),
        (6, "mean", "WAVE", "ssim", "ddof"),
        (7, "mean", "WAVE", "clip", "ddof"),
        (8, "mean", "Dynadiff multi-subject", "clip", "ddof"),
        (8, "subj05", "Dynadiff multi-subject", "miou", "missing"),
    ],
)
def test_oddities(table, subject, row, metric, word):
    assert word in published.flags(table, subject, row, metric)[0]


def values(table, row, subject="mean"):
    """Metric: the number in the paper."""
    frame = published.tables().query("table == @table and row == @row and subject == @subject")
    return frame.set_index("metric")["value"]


def test_ablations_disagree_with_table_1():
    ours = values(1, "Dynadiff")
    for table, row in (
        (2, "timestep layers, aggregation OUT (Dynadiff)"),
        (3, "LoRA on cross-attention (25M)"),
    ):
        differ = {m for m, value in values(table, row).items() if value != ours[m]}
        assert differ == {"alexnet_2", "clip"}
    shared = values(2, "without timestep layers, aggregation OUT")
    change = shared - values(2, "timestep layers, aggregation OUT (Dynadiff)")
    assert (round(change["alexnet_2"], 2), round(change["clip"], 2)) == (0.20, -7.01)


@pytest.mark.survives(
    "results",
    "The paper prints a number that its other numbers contradict",
    "It is shown as printed, with a flag that says what contradicts it",
)
def test_what_the_text_says_of_table_1_and_the_error_of_miou():
    clip = {row: published.lookup(1, "mean", row, "clip")[0] for row in ("Dynadiff", "MindEye2")}
    assert clip["Dynadiff"] - clip["MindEye2"] == pytest.approx(3.15)
    assert "3.25" in published.flags(1, "mean", "Dynadiff", "clip")[0]
    errors = {metric: published.lookup(1, "mean", "Dynadiff", metric)[1] for metric in MIOU_AS}
    assert errors == {"miou": 0.41, "dreamsim": 0.97}
    for table, row in (
        (2, "timestep layers, aggregation OUT (Dynadiff)"),
        (3, "LoRA on cross-attention (25M)"),
    ):
        assert published.lookup(table, "mean", row, "miou") == (8.5, errors["dreamsim"])
        assert published.flags(table, "mean", row, "miou")


def test_two_decoders_of_table_4_are_the_same():
    same = values(4, "UMBRAE") == values(4, "DREAM")
    (oddity,) = (o for o in published.ODDITIES if o.table == 4)
    assert set(oddity.metrics) == set(same.index[same]) == set(same.index) - {"swav"}


def test_table_5_disagrees_with_table_1():
    differ = values(5, "Dynadiff w/ NSD prep.") != values(1, "Dynadiff")
    (oddity,) = (o for o in published.ODDITIES if o.table == 5)
    assert set(oddity.metrics) == set(differ.index[differ])


@pytest.mark.parametrize(
    ("table", "row", "ddof"),
    [
        (6, "Dynadiff", 0),
        (6, "WAVE", 1),
        (7, "Dynadiff", 0),
        (7, "WAVE", 1),
        (8, "Dynadiff multi-subject", 1),
    ],
)
def test_convention_of_the_standard_errors(table, row, ddof):
    frame = published.tables().query("table == @table and row == @row and metric == 'inception'")
    subjects = frame[frame["subject"] != "mean"]["value"]
    sem = published.lookup(table, "mean", row, "inception")[1]
    assert sem == pytest.approx(subjects.std(ddof=ddof) / 2, abs=0.006)
    assert sem != pytest.approx(subjects.std(ddof=1 - ddof) / 2, abs=0.006)
    assert any("ddof" in text for text in published.flags(table, "mean", row, "clip")) == bool(ddof)


def test_missing_number_is_miou():
    assert published.lookup(8, "subj05", "Dynadiff multi-subject", "miou") is None
    frame = published.tables().query("table == 8 and subject != 'mean'")
    means = values(8, "Dynadiff multi-subject")
    rest = frame.groupby("metric")["value"]
    assert rest.mean()["dreamsim"] == pytest.approx(means["dreamsim"], abs=0.006)
    assert 4 * means["miou"] - rest.sum()["miou"] == pytest.approx(8.99)


def test_rows_subjects_and_metrics_of_a_table():
    assert published.rows(5) == ["Dynadiff w/ fMRIprep", "Dynadiff w/ NSD prep."]
    assert published.subjects(5) == ["mean"]
    assert published.subjects(6) == ["subj01", "subj02", "subj05", "subj07", "mean"]
    assert published.metrics(3) == ["ssim", "alexnet_2", "clip", "miou"]
    assert len(published.metrics(4)) == 8
    assert {len(published.metrics(table)) for table in (1, 5, 6, 7, 8)} == {10}


def test_every_oddity_is_of_a_row_that_the_table_has():
    for oddity in published.ODDITIES:
        assert oddity.row in published.rows(oddity.table)
        assert set(oddity.metrics) <= set(published.metrics(oddity.table))
        assert oddity.where.startswith(oddity.row)


def test_no_flag_without_reason():
    assert published.flags(1, "mean", "Dynadiff", "dreamsim") == []
    assert published.flags(6, "subj01", "WAVE", "ssim") == []


def test_paper_mean_is_the_mean_of_its_subjects():
    frame = published.tables().query("table == 6 and row == 'Dynadiff' and metric == 'clip'")
    subjects = frame[frame["subject"] != "mean"]["value"]
    value, sem = published.lookup(6, "mean", "Dynadiff", "clip")
    assert subjects.mean() == pytest.approx(value, abs=0.005)
    assert subjects.std(ddof=0) / 2 == pytest.approx(sem, abs=0.005)
