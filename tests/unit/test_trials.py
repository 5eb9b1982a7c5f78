"""The trial table and its splits."""

import hashlib
import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.io

from boldvision.config import Design, Subject
from boldvision.datasets.miniature.experiment import experiment_design, run_designs
from boldvision.datasets.nsd.design import read_experiment_design
from boldvision.datasets.nsd.trials import check_against_designs, main, trial_table
from boldvision.errors import UserError
from boldvision.trials import splits, stage
from boldvision.trials.splits import time_resolved
from boldvision.trials.splits.time_resolved_size_matched import match
from boldvision.trials.table import read_split, write_trials
from tests.unit.signal_files import SHARED

DESIGN = {
    "images": 7300,
    "images_per_subject": 1000,
    "shared_images": 100,
    "image_px": 48,
}
SUBJECT = {"number": 2, "sessions": 4, "rest_sessions": [3], "grid": [3, 3, 3], "voxels": 5}


def write_designs(folder, columns: np.ndarray, rest_sessions: list[int], name: str = "") -> None:
    """Write design columns [sessions, 12, 225] as the bucket's files, rest runs included."""
    folder.mkdir()
    for session, runs in enumerate(columns, start=1):
        if session in rest_sessions:
            rest = np.zeros((1, runs.shape[1]), int)
            runs = np.concatenate([rest, runs, rest])
        for run, column in enumerate(runs, start=1):
            text = "".join(f"{value}\n" for value in column)
            (folder / f"design_session{session:02d}_run{run:02d}.tsv").write_text(text)


@pytest.fixture(scope="module")
def experiment_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    fields = experiment_design(Design(**DESIGN), sessions=4, seed=0)
    scipy.io.savemat(folder / "nsd_expdesign.mat", fields)
    write_designs(folder / "design", run_designs(fields, 2), [3])
    return folder


@pytest.fixture(scope="module")
def experiment(experiment_files):
    return read_experiment_design(experiment_files / "nsd_expdesign.mat", Design(**DESIGN))


@pytest.fixture(scope="module")
def trials(experiment) -> pd.DataFrame:
    return with_splits(trial_table(experiment, Subject(**SUBJECT)), "subj02", test_runs=5)


def with_splits(trials, subject, test_runs):
    """A trial table with a column of every split."""
    told = {"subject": subject, "test_runs": test_runs, "seed": 0}
    for name in splits.names():
        asked = {key: told[key] for key in splits.keywords(name)}
        trials = trials.assign(**{f"split_{name}": splits.find(name)(trials, **asked)})
    return trials


def test_table_follows_the_order_of_presentation(experiment, trials):
    assert trials["trial"].tolist() == list(range(3000))
    place = trials[["session", "task_run", "onset_row"]].apply(tuple, axis=1)
    assert place.is_monotonic_increasing
    assert place.is_unique
    first = experiment.masterordering_1based[:5] - 1
    assert trials["image_id"][:5].tolist() == experiment.subject_image_ids[1, first].tolist()


def test_onset_rows_are_three_per_slot(experiment, trials):
    third_run = trials[(trials["session"] == 2) & (trials["task_run"] == 3)]
    slots = np.flatnonzero(experiment.stimpattern[1, 2])
    assert third_run["onset_row"].tolist() == (3 * slots).tolist()
    per_run = trials.groupby(["session", "task_run"]).size().to_numpy().reshape(4, 12)
    assert (per_run[:, 0::2] == 63).all()
    assert (per_run[:, 1::2] == 62).all()


def test_file_runs_skip_rest(trials):
    shift = trials["file_run"] - trials["task_run"]
    assert (shift == (trials["session"] == 3)).all()


def test_repetitions_count_up_in_time(trials):
    for _, rows in trials.groupby("image_id"):
        assert rows["repetition"].tolist() == [0, 1, 2]
    assert trials["shared"].sum() == 300


def test_fewer_sessions_are_the_head_of_all(experiment, trials):
    head = trial_table(experiment, Subject(**SUBJECT | {"sessions": 3}))
    pd.testing.assert_frame_equal(head, trials.loc[: len(head) - 1, head.columns])


@pytest.mark.survives(
    "results",
    "An image occurs other than three times in the order of presentation",
    "The stage stops and names both numbers",
)
@pytest.mark.parametrize(
    ("field", "what"), [("masterordering_1based", "all"), ("shared_image_ids", "shared")]
)
def test_refuses_a_design_of_other_sizes(experiment, field, what):
    values = getattr(experiment, field).copy()
    values[0] = values[1]
    with pytest.raises(UserError, match=rf"images \({what}\) x 3 trials"):
        trial_table(replace(experiment, **{field: values}), Subject(**SUBJECT))


def test_standard_split_tests_the_shared_images(trials):
    test = trials[trials["split_standard"] == "test"]
    train = trials[trials["split_standard"] == "train"]
    assert (len(test), len(train)) == (300, 2700)
    assert not set(test["image_id"]) & set(train["image_id"])


def test_time_resolved_split_holds_out_whole_runs_spread_over_sessions(trials):
    per_run = trials.groupby(["session", "task_run"])["split_time_resolved"].agg(["nunique", "min"])
    assert (per_run["nunique"] == 1).all()
    held_out = per_run.index[per_run["min"] == "test"]
    assert len(held_out) == 5
    per_session = held_out.get_level_values("session").value_counts()
    assert sorted(per_session) == [1, 1, 1, 2]


def test_time_resolved_split_depends_on_seed_and_subject_only(trials):
    def drawn(seed, subject):
        return time_resolved.split(trials, subject=subject, test_runs=5, seed=seed)

    np.testing.assert_array_equal(drawn(0, "subj02"), trials["split_time_resolved"])
    assert (drawn(1, "subj02") != drawn(0, "subj02")).any()
    assert (drawn(0, "subj01") != drawn(0, "subj02")).any()


def test_leakage_free_split_excludes_other_repetitions_of_test_images(trials):
    published = trials["split_time_resolved"]
    leakage_free = trials["split_time_resolved_leakage_free"]
    assert ((leakage_free == "test") == (published == "test")).all()
    images = {part: set(rows["image_id"]) for part, rows in trials.groupby(leakage_free)}
    assert not images["train"] & images["test"]
    assert images["excluded"] <= images["test"]


def size_matched(trials, seed=0):
    leakage_free = trials["split_time_resolved_leakage_free"].to_numpy()
    return match(trials["session"].to_numpy(), leakage_free, "subj02", seed)


def test_size_matched_split_has_as_few_trials_and_all_leaks(trials):
    published = trials["split_time_resolved"]
    leakage_free = trials["split_time_resolved_leakage_free"]
    matched = trials["split_time_resolved_size_matched"]
    assert ((matched == "test") == (published == "test")).all()
    sizes = [
        trials[split == "train"].groupby("session").size().tolist()
        for split in (matched, leakage_free)
    ]
    assert sizes[0] == sizes[1]
    assert (matched[leakage_free == "excluded"] == "train").all()


def test_size_matched_split_depends_on_seed_and_subject(trials):
    drawn = size_matched(trials)
    np.testing.assert_array_equal(drawn, trials["split_time_resolved_size_matched"])
    other = size_matched(trials, seed=1)
    assert (other != drawn).any()
    assert (other == "excluded").sum() == (drawn == "excluded").sum()


def test_size_matched_split_drops_leaks_where_a_session_has_nothing_else():
    session = np.array([1, 1, 1, 1, 1, 2, 2])
    leakage_free = np.array(["test", "excluded", "excluded", "excluded", "train", "train", "test"])
    matched = match(session, leakage_free, "subj02", 0).tolist()
    assert matched[4:] == ["excluded", "train", "test"]
    assert sorted(matched[:4]) == ["excluded", "excluded", "test", "train"]


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("standard", "6ddb25c53342cb9e"),
        ("time_resolved", "aef7776928bc49c0"),
        ("time_resolved_leakage_free", "2b4be3268b6f86a3"),
        ("time_resolved_size_matched", "31a43569191d3951"),
    ],
)
def test_a_seed_draws_the_same_trials_as_ever(trials, split, digest):
    parts = "\n".join(trials[f"split_{split}"])
    assert hashlib.sha256(parts.encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("test_runs", [0, 48, 100])
def test_refuses_a_number_of_test_runs_that_leaves_no_training(trials, test_runs):
    with pytest.raises(UserError, match="time_resolved_test_runs"):
        time_resolved.split(trials, subject="subj02", test_runs=test_runs, seed=0)


def test_stage_writes_the_table(experiment_files, trials, tmp_path):
    settings = {"subject": SUBJECT, "design": DESIGN}
    out = tmp_path / "subj02.parquet"
    main(
        [
            *("--expdesign", str(experiment_files / "nsd_expdesign.mat")),
            *("--designs", str(experiment_files / "design")),
            *("--subject", "subj02", "--settings", json.dumps(settings), "--out", str(out)),
        ]
    )
    listed = pd.read_parquet(out)
    pd.testing.assert_frame_equal(listed, trials[listed.columns])
    assert not listed.columns.str.startswith("split").any()


@pytest.mark.parametrize("split", splits.names())
def test_stage_writes_a_split(trials, tmp_path, split):
    table, out = tmp_path / "subj02.parquet", tmp_path / split / "subj02.parquet"
    write_trials(trials.loc[:, :"shared"], table)
    told = {"test_runs": 5, "seed": 0} if len(splits.keywords(split)) else {}
    arguments = ["--trials", str(table), "--split", split, "--subject", "subj02", "--out", str(out)]
    stage.main([*arguments, "--settings", json.dumps(told)])
    assert list(pd.read_parquet(out)) == ["trial", "split"]
    assert read_split(out, trials).tolist() == trials[f"split_{split}"].tolist()
    if told:
        with pytest.raises(UserError, match=f"--settings: split {split} needs seed, found none"):
            stage.main([*arguments, "--settings", json.dumps({"test_runs": 5})])


@pytest.mark.survives(
    "names",
    "A run names a split that does not exist, or a split asks for what nobody tells it",
    "Refused before anything runs, with the names that there are",
)
def test_a_split_is_a_module_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(splits, "__path__", [str(tmp_path)])
    (tmp_path / "odd.py").write_text("def split(trials, *, seed):\n    return trials\n")
    (tmp_path / "wrong.py").write_text("def split(trials, *, weather):\n    return trials\n")
    (tmp_path / "empty.py").write_text("")
    assert splits.names() == ["empty", "odd", "wrong"]
    assert splits.keywords("odd") == ["seed"]
    for name, told in (
        (
            "wrong",
            "split: expected trials and keywords of subject, test_runs, seed, found w",
        ),
        ("empty", "splits/empty.py: expected a function split; add it"),
        ("even", "split 'even': expected one of empty, odd, wrong"),
    ):
        with pytest.raises(UserError, match=told):
            splits.keywords(name)
    for name in ("odd", "wrong", "empty"):
        sys.modules.pop(f"boldvision.trials.splits.{name}", None)


@pytest.mark.survives(
    "results",
    "The configuration has other rest sessions or another subject than the data",
    "The design files of the runs contradict it; the stage stops and names the run",
)
@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ({"number": 1}, r"session01_run01.*expected the 63 trials"),
        ({"rest_sessions": []}, r"session03_run01.*expected the 63 trials"),
        ({"rest_sessions": [2, 3]}, r"session02_run01.*rest"),
    ],
)
def test_designs_contradict_a_wrong_configuration(experiment, experiment_files, subject, message):
    configured = Subject(**SUBJECT | subject)
    with pytest.raises(UserError, match=message):
        check_against_designs(
            trial_table(experiment, configured), experiment_files / "design", "subj02", configured
        )


@pytest.mark.parametrize("column", ["image_id", "onset_row"])
def test_designs_contradict_a_single_wrong_trial(trials, experiment_files, column):
    wrong = trials.copy()
    wrong.loc[1234, column] += 3
    with pytest.raises(UserError, match="session02_run08"):
        check_against_designs(wrong, experiment_files / "design", "subj02", Subject(**SUBJECT))


@pytest.mark.skipif(not (SHARED / "nsd_real").exists(), reason="needs the real nsd_expdesign.mat")
def test_real_design_of_subj01(tmp_path):
    path = SHARED / "nsd_real" / "nsd_expdesign.mat"
    fields = scipy.io.loadmat(path)
    write_designs(tmp_path / "design", run_designs(fields, 1), list(range(21, 39)))
    assert len(list((tmp_path / "design").iterdir())) == 516
    subject = Subject(
        number=1,
        sessions=40,
        rest_sessions=list(range(21, 39)),
        grid=(81, 104, 83),
        voxels=15724,
    )
    table = trial_table(read_experiment_design(path, Design()), subject)
    check_against_designs(table, tmp_path / "design", "subj01", subject)
    table = with_splits(table, "subj01", test_runs=45)

    assert len(table) == 30_000
    assert table["image_id"][:3].tolist() == [46003, 61883, 829]
    sizes = table.groupby("split_standard").agg(
        trials=("trial", "size"), images=("image_id", "nunique")
    )
    assert sizes.loc["test"].tolist() == [3000, 1000]
    assert sizes.loc["train"].tolist() == [27_000, 9000]
    assert (table.groupby("image_id").size() == 3).all()

    test = table[table["split_time_resolved"] == "test"]
    runs = test[["session", "task_run"]].drop_duplicates()
    assert len(runs) == 45
    assert runs["session"].nunique() == 40
    assert 2790 <= len(test) <= 2835
    assert len(table) - len(test) == pytest.approx(27_000, abs=250)

    train, excluded = (
        table["split_time_resolved_size_matched"].eq(part).sum() for part in ("train", "excluded")
    )
    assert train == (table["split_time_resolved_leakage_free"] == "train").sum()
    assert 0.173 < excluded / (train + excluded) < 0.178
