from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from boldvision.report import published

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
        (6, "mean", "WAVE", "ssim", "ddof"),
        (8, "subj05", "Dynadiff multi-subject", "miou", "missing"),
    ],
)
def test_oddities(table, subject, row, metric, word):
    assert word in published.flags(table, subject, row, metric)[0]


def test_oddities_hold_of_the_numbers():
    assert published.lookup(3, "mean", "LoRA on cross-attention (25M)", "clip")[0] == 97.45
    assert published.lookup(8, "subj05", "Dynadiff multi-subject", "miou") is None
    rows = published.tables().query("table == 6 and row == 'WAVE' and metric == 'inception'")
    subjects = rows[rows["subject"] != "mean"]["value"]
    sem = published.lookup(6, "mean", "WAVE", "inception")[1]
    assert sem == pytest.approx(subjects.std(ddof=1) / 2, abs=0.006)
    assert sem != pytest.approx(subjects.std(ddof=0) / 2, abs=0.006)


def test_no_flag_without_reason():
    assert published.flags(1, "mean", "Dynadiff", "clip") == []
    assert published.flags(6, "subj01", "WAVE", "ssim") == []


def test_paper_mean_is_the_mean_of_its_subjects():
    frame = published.tables().query("table == 6 and row == 'Dynadiff' and metric == 'clip'")
    subjects = frame[frame["subject"] != "mean"]["value"]
    value, sem = published.lookup(6, "mean", "Dynadiff", "clip")
    assert subjects.mean() == pytest.approx(value, abs=0.005)
    assert subjects.std(ddof=0) / 2 == pytest.approx(sem, abs=0.005)
