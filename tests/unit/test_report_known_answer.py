import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_data import around, model, of_split
from report_data import SHIFTS, WINDOWS, another_decoder, curve_rows, picture, write_images

from boldvision.datasets.miniature.known_answer import CHECKED, checks, decoding, finding, over_time
from boldvision.datasets.miniature.known_answer.identification import (
    check_identification,
    pixel_identification,
)
from boldvision.errors import UserError
from boldvision.report import results
from boldvision.report.leakage import by_split


def files(folder, order):
    ids = np.arange(1, 13)
    stimuli = write_images(folder / "s.h5", [picture(int(i), 48) for i in ids], image_id=ids)
    made = write_images(
        folder / "r.h5", [picture(int(order[i - 1]), 32) for i in ids], image_id=ids
    )
    return made, stimuli


def test_pixels_identify_faithful_reconstructions(tmp_path):
    assert pixel_identification(*files(tmp_path, np.arange(1, 13)))["value"].mean() > 0.95


def test_pixels_do_not_identify_other_images(tmp_path):
    assert pixel_identification(*files(tmp_path, np.arange(101, 113)))["value"].mean() < 0.8


def test_repetitions_are_not_wrong_images(tmp_path):
    ids = np.array([1, 1, 2, 2, 3])
    stimuli = write_images(
        tmp_path / "s.h5", [picture(i, 32) for i in (1, 2, 3)], image_id=[1, 2, 3]
    )
    made = write_images(tmp_path / "r.h5", [picture(int(i), 32) for i in ids], image_id=ids)
    found = pixel_identification(made, stimuli)
    assert found["image_id"].tolist() == ids.tolist()
    assert (found["value"] == 1).all()


def test_missing_stimulus(tmp_path):
    stimuli = write_images(tmp_path / "s.h5", [picture(1, 32)], image_id=[1])
    made = write_images(tmp_path / "r.h5", [picture(1, 32)] * 2, image_id=[1, 2])
    with pytest.raises(UserError, match="1 are missing"):
        pixel_identification(made, stimuli)


def test_silence_looks_at_windows_that_end_in_time(tmp_path):
    findings = over_time.check_silence(results.read(curve_rows(tmp_path)), WINDOWS)
    assert [f.where for f in findings] == ["subj01, main-8, main-7"]
    assert all(f.passed for f in findings)


def test_silence_fails_where_the_interval_misses_chance(tmp_path):
    rows = curve_rows(tmp_path)
    table = pd.read_parquet(rows[0]["parquet"])
    early = table["test_window"].isin(["main-8", "main-7"]) & (table["metric"] == "alexnet_2")
    table.loc[early, "value"] = 0.6
    table.to_parquet(rows[0]["parquet"])
    findings = over_time.check_silence(results.read(rows), WINDOWS)
    assert [f.passed for f in findings] == [False]
    with pytest.raises(UserError, match="1 of 1 checks failed"):
        finding.conclude(findings)


def test_silence_needs_such_a_window(tmp_path):
    rows = curve_rows(tmp_path, metrics=["alexnet_2"])
    summary = json.loads(Path(rows[0]["summary"]).read_text())
    early = ("main-8", "main-7")
    summary["windows"] = {k: v for k, v in summary["windows"].items() if k not in early}
    Path(rows[0]["summary"]).write_text(json.dumps(summary))
    with pytest.raises(UserError, match="earlier windows"):
        over_time.check_silence(results.read(rows), WINDOWS)


@pytest.mark.parametrize(
    ("peak_s", "passed"), [(6.0, True), (7.3, True), (7.4, False), (4.6, False)]
)
def test_peak_within_one_tr_of_the_best_window(peak_s, passed, tmp_path):
    specialized = [s for s in SHIFTS if s]
    rows = curve_rows(tmp_path, specialized, metrics=["pixcorr"])
    evaluations = results.read(rows)
    findings = over_time.check_peak(evaluations, WINDOWS, peak_s)
    assert [f.passed for f in findings] == [passed, passed]
    assert findings[0].found == "centre 6.00 to 6.00 s"


def test_best_centre_spans_windows_that_score_alike():
    random = np.random.default_rng(0)
    alike = [pd.DataFrame({"trial": range(80), "value": random.normal(0.5, 0.2, 80)}) for _ in "ab"]
    worse = pd.DataFrame({"trial": range(80), "value": random.normal(0.2, 0.2, 80)})
    low, high = over_time.best_centre({4.0: alike[0], 6.0: alike[1], 8.0: worse})
    assert (low, high) == (4.0, 6.0)


def scored(folder, row, pixcorr=0.5, identified=0.8, **kwargs):
    """A model with these mean scores of 60 images; all have the same noise."""
    values = {"pixcorr": around(pixcorr), "alexnet_2": around(identified)}
    return model(folder, row, {"main": values}, **kwargs)


@pytest.mark.parametrize(("identified", "passed"), [(0.6, True), (0.52, False), (0.4, False)])
def test_decoding_is_above_chance_in_every_subject(identified, passed, tmp_path):
    rows = [
        scored(tmp_path, "Joint", identified=0.8, subject="subj01"),
        scored(tmp_path, "Joint", identified=identified, subject="subj02"),
        scored(tmp_path, "Other", identified=0.2, subject="subj01"),
    ]
    findings = decoding.check_decoding(results.read(rows), "Joint", "joint model decodes")
    assert [f.passed for f in findings] == [True, passed]
    assert [f.where for f in findings] == ["subj01, AlexNet(2)", "subj02, AlexNet(2)"]


@pytest.mark.parametrize(
    ("few", "all_of_them", "pretrained_few", "pretrained_all", "passed"),
    [
        (0.3, 0.5, 0.4, 0.5, [True, True]),
        (0.3, 0.5, 0.3, 0.5, [True, True]),
        (0.3, 0.4, 0.4, 0.3, [False, True]),  # one curve rises as much as the other falls
        (0.3, 0.2, 0.4, 0.4, [False, True]),
        (0.3, 0.5, 0.2, 0.5, [True, False]),
    ],
)
def test_sessions_and_pretraining_help(
    few, all_of_them, pretrained_few, pretrained_all, passed, tmp_path
):
    rows = [
        scored(tmp_path, "Not pretrained", all_of_them, run="dynadiff"),
        scored(tmp_path, "Not pretrained", 0.9, run="dynadiff-12sessions"),
        scored(tmp_path, "Not pretrained", few, run="dynadiff-2sessions"),
        scored(tmp_path, "Pretrained", pretrained_all, run="pretrained"),
        scored(tmp_path, "Pretrained", pretrained_few, run="pretrained-2sessions"),
    ]
    findings = decoding.check_sessions(results.read(rows), seed=0)
    assert [f.passed for f in findings] == passed


def test_differences_are_paired_by_image(tmp_path):
    """Images differ far more than the rows do."""
    rows = [scored(tmp_path, "Not pretrained", 0.51), scored(tmp_path, "Pretrained", 0.5)]
    one, other = results.read(rows)
    low, high = decoding.paired_interval([one], [other], seed=0, level=0.95)
    assert (low, high) == (pytest.approx(0.01), pytest.approx(0.01))


@pytest.mark.parametrize("shift", [-0.01, 0.01])
def test_what_cannot_be_told_apart_is_neither_better_nor_worse(shift, tmp_path):
    noisy = {"pixcorr": around(0.5 + shift) + around(0.0)[::-1]}
    rows = [
        scored(tmp_path, "Not pretrained", run="dynadiff-1sessions"),
        model(tmp_path, "Not pretrained", {"main": noisy}, run="dynadiff"),
        model(tmp_path, "Pretrained", {"main": noisy}, run="pretrained-1sessions"),
    ]
    findings = decoding.check_sessions(results.read(rows), seed=0)
    assert [f.passed for f in findings] == [False, True]


@pytest.mark.parametrize(("averaged", "passed"), [(0.6, True), (0.5, False), (0.4, False)])
def test_averaging_helps(averaged, passed, tmp_path):
    subjects = ("subj01", "subj02")
    one = [scored(tmp_path / "1", "Dynadiff", 0.5, subject=s) for s in subjects]
    three = [scored(tmp_path / "3", "Dynadiff", averaged, subject=s) for s in subjects]
    floor = scored(tmp_path, "Mean image", 0.9)
    tables = results.read([*three, floor]), results.read([*one, floor])
    (found,) = decoding.check_averaging(*tables, "Dynadiff", seed=0)
    assert found.check == "Dynadiff: averaged repetitions against single trials"
    assert found.passed is passed
    assert found.where == "subj01, subj02, PixCorr"


@pytest.mark.parametrize(("leakage_free", "passed"), [(0.4, True), (0.5, True), (0.6, False)])
def test_leaks_do_no_harm(leakage_free, passed, tmp_path):
    rows = [
        scored(tmp_path, "General, as published", 0.5),
        scored(tmp_path, "Specialized, as published", 0.1, window="main+1"),
        scored(tmp_path, "General, leakage-free", leakage_free),
        scored(tmp_path, "Specialized, leakage-free", 0.9, window="main+1"),
    ]
    rows = [of_split(row) for row in rows]
    for row in rows[1::2]:
        summary = json.loads(Path(row["summary"]).read_text())
        summary["windows"] = {"main+1": summary["windows"]["main"]}
        Path(row["summary"]).write_text(json.dumps(summary))
    (found,) = decoding.check_leakage(by_split(results.read(rows), rows), seed=0)
    assert found.passed is passed


def test_a_scope_is_checked_on_the_items_that_it_has(tmp_path):
    """Rows of the runs table are found by name; averaging needs table 1 too."""
    betas = [scored(tmp_path / "4", "Dynadiff")]
    fmriprep = [scored(tmp_path / "5", "Dynadiff w/ fMRIprep".replace("/", ""))]
    fmriprep[0]["row"] = "Dynadiff w/ fMRIprep"
    joint = [scored(tmp_path / "8", "Dynadiff multi-subject")]
    items = {"table_4": betas, "table_5": fmriprep, "table_7": betas, "table_8": joint}
    assert set(items) <= set(CHECKED)
    findings = checks.findings(items, WINDOWS, truth={}, seed=0)
    assert [f.check for f in findings] == [
        "betas decode",
        "fsaverage5 decodes",
        "joint model decodes",
    ]


def test_a_row_that_is_checked_must_be_there(tmp_path):
    items = {"table_5": [scored(tmp_path, "Dynadiff")]}
    with pytest.raises(UserError, match=r"expected a row 'Dynadiff w/ fMRIprep'.*found Dynadiff"):
        checks.findings(items, WINDOWS, truth={}, seed=0)
    for item in ("table_1", "figure_5"):
        items = {item: [scored(tmp_path / item, "Mine") | {"reconstructions": "", "stimuli": ""}]}
        items[item][0]["identified"] = None
        with pytest.raises(UserError, match=r"expected a row of a decoder whose .*found Mine"):
            checks.findings(items, WINDOWS, truth={}, seed=0)


@pytest.mark.survives(
    "results",
    "A row of another decoder in figure 5 of the miniature",
    "It is checked if the decoder says that its answer is known, else left out",
)
@pytest.mark.parametrize(("identified", "checked"), [(None, []), (0.8, ["Ridge", "Ridge"])])
def test_only_known_answers_are_checked(identified, checked, tmp_path):
    metrics = ["pixcorr", "alexnet_2"]
    rows = curve_rows(tmp_path / "one", metrics=metrics)
    other = another_decoder(tmp_path / "other", metrics=metrics, specialized=())
    rows += [row | {"identified": identified} for row in other]
    truth = {"subj01": {"peak_s": 6.0}}
    found = checks.findings({"figure_5": rows}, WINDOWS, truth, seed=0)
    expected = ["General", "General", "Specialized", *checked]
    assert [f.check.rpartition(", ")[2] for f in found] == expected


def test_identification_asks_for_more_than_chance(tmp_path):
    made, stimuli = files(tmp_path, np.arange(1, 13))
    (evaluation,) = results.read([scored(tmp_path, "Dynadiff", identified=0.79)])
    findings = check_identification([(evaluation, made, stimuli, 0.8)])
    assert [f.passed for f in findings] == [True, False]
    assert findings[0].where == "Dynadiff, subj01, main"
    assert all(f.passed for f in check_identification([(evaluation, made, stimuli, 0.75)]))
