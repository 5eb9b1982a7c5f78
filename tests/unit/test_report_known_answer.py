import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_data import SHIFTS, WINDOWS, curve_rows, picture, write_images

from boldvision.errors import UserError
from boldvision.report import known_answer, results


def files(folder, order):
    ids = np.arange(1, 13)
    stimuli = write_images(folder / "s.h5", [picture(int(i), 48) for i in ids], image_id=ids)
    made = write_images(
        folder / "r.h5", [picture(int(order[i - 1]), 32) for i in ids], image_id=ids
    )
    return made, stimuli


def test_pixels_identify_faithful_reconstructions(tmp_path):
    assert known_answer.pixel_identification(*files(tmp_path, np.arange(1, 13))) > 0.95


def test_pixels_do_not_identify_other_images(tmp_path):
    assert known_answer.pixel_identification(*files(tmp_path, np.arange(101, 113))) < 0.8


def test_repetitions_are_not_wrong_images(tmp_path):
    ids = np.array([1, 1, 2, 2, 3])
    stimuli = write_images(
        tmp_path / "s.h5", [picture(i, 32) for i in (1, 2, 3)], image_id=[1, 2, 3]
    )
    made = write_images(tmp_path / "r.h5", [picture(int(i), 32) for i in ids], image_id=ids)
    assert known_answer.pixel_identification(made, stimuli) == 1.0


def test_missing_stimulus(tmp_path):
    stimuli = write_images(tmp_path / "s.h5", [picture(1, 32)], image_id=[1])
    made = write_images(tmp_path / "r.h5", [picture(1, 32)] * 2, image_id=[1, 2])
    with pytest.raises(UserError, match="1 are missing"):
        known_answer.pixel_identification(made, stimuli)


def test_silence_looks_at_windows_that_end_in_time(tmp_path):
    findings = known_answer.check_silence(results.read(curve_rows(tmp_path)), WINDOWS)
    assert [f.where for f in findings] == ["subj01, main-8, main-7"]
    assert all(f.passed for f in findings)


def test_silence_fails_where_the_interval_misses_chance(tmp_path):
    rows = curve_rows(tmp_path)
    table = pd.read_parquet(rows[0]["parquet"])
    early = table["test_window"].isin(["main-8", "main-7"]) & (table["metric"] == "alexnet_2")
    table.loc[early, "value"] = 0.6
    table.to_parquet(rows[0]["parquet"])
    findings = known_answer.check_silence(results.read(rows), WINDOWS)
    assert [f.passed for f in findings] == [False]
    with pytest.raises(UserError, match="1 of 1 checks failed"):
        known_answer.check(findings)


def test_silence_needs_such_a_window(tmp_path):
    rows = curve_rows(tmp_path, metrics=["alexnet_2"])
    summary = json.loads(Path(rows[0]["summary"]).read_text())
    early = ("main-8", "main-7")
    summary["windows"] = {k: v for k, v in summary["windows"].items() if k not in early}
    Path(rows[0]["summary"]).write_text(json.dumps(summary))
    with pytest.raises(UserError, match="earlier windows"):
        known_answer.check_silence(results.read(rows), WINDOWS)


@pytest.mark.parametrize(
    ("peak_s", "passed"), [(6.0, True), (7.3, True), (7.4, False), (4.6, False)]
)
def test_peak_within_one_tr_of_the_best_window(peak_s, passed, tmp_path):
    specialized = [s for s in SHIFTS if s]
    rows = curve_rows(tmp_path, specialized, metrics=["pixcorr"])
    evaluations = results.read(rows)
    findings = known_answer.check_peak(evaluations, WINDOWS, peak_s)
    assert [f.passed for f in findings] == [passed, passed]
    assert findings[0].found == "centre 6.00 to 6.00 s"


def test_best_centre_spans_windows_that_score_alike():
    random = np.random.default_rng(0)
    alike = [pd.DataFrame({"trial": range(80), "value": random.normal(0.5, 0.2, 80)}) for _ in "ab"]
    worse = pd.DataFrame({"trial": range(80), "value": random.normal(0.2, 0.2, 80)})
    low, high = known_answer.best_centre({4.0: alike[0], 6.0: alike[1], 8.0: worse})
    assert (low, high) == (4.0, 6.0)
