"""Windows of the series around trials."""

import numpy as np
import pandas as pd
import pytest

from boldvision.config import Betas, Fmriprep, NsdPrep, Window
from boldvision.errors import UserError
from boldvision.trials import windows as windows_module
from boldvision.trials.splits import standard
from boldvision.trials.table import read_trials, write_split, write_trials
from boldvision.trials.windows import (
    Windows,
    drawn,
    first_samples,
    load_windows,
    nearest_sample,
    one_repetition,
    with_place,
)

VOXELS = 7
NSD_PREP = NsdPrep(kind="nsd_prep", detrend="cosine")
FMRIPREP = Fmriprep(kind="fmriprep")
TR_S = 4 / 3


def window(start_row: int) -> Window:
    return Window(start_s=start_row * TR_S, n_tr=6)


@pytest.fixture
def bold(tmp_path):
    """Two sessions; sample (session, task run, row, voxel) holds its own address."""
    session, run, row, voxel = np.ogrid[1:3, 1:13, :225, :VOXELS]
    series = (session * 1e6 + run * 1e4 + row * 10 + voxel).astype(np.float32)
    for number, values in enumerate(series, start=1):
        np.save(tmp_path / f"session{number:02d}.npy", values)
    return tmp_path


@pytest.fixture
def files(bold):
    return {session: bold / f"session{session:02d}.npy" for session in (1, 2)}


@pytest.fixture
def trials():
    random = np.random.default_rng(0)
    n = 60
    table = pd.DataFrame(
        {
            "trial": np.arange(n),
            "session": np.repeat([1, 2], n // 2),
            "task_run": np.tile(np.repeat(np.arange(1, 13), 5), n // 60),
            "onset_row": np.tile([9, 12, 90, 207, 210], n // 5),
            "onset_s": TR_S * np.tile([9, 12, 90, 207, 210], n // 5),
            "image_id": random.permutation(np.repeat(np.arange(100, 100 + n // 3), 3)),
        }
    )
    table["shared"] = table["image_id"] < 105
    return table


@pytest.fixture
def load(bold, trials, tmp_path):
    """Windows of a part of the standard split of the trials."""
    table, split = tmp_path / "trials.parquet", tmp_path / "split.parquet"
    write_trials(trials, table)
    write_split(trials, standard.split(trials), split)

    def load(part, *which, start_row=2, **chosen):
        return load_windows(bold, table, split, window(start_row), NSD_PREP, part, *which, **chosen)

    return load


def test_the_disk_is_told_of_a_batch_before_any_of_it_is_read(load, monkeypatch):
    """Each window once, in the order of the files, and by an address that it may be told."""
    told, tell = [], windows_module._announce

    def announce(piece):
        told.append(piece)
        tell(piece)

    monkeypatch.setattr(windows_module, "_announce", announce)
    found = load("train")
    read = found[np.arange(5)]
    assert len(told) == 5
    assert all(np.shares_memory(piece, found._series[1]) for piece in told)
    assert np.array_equal(read, np.stack(told))


def address(trials: pd.DataFrame, start_row: int, n_tr: int) -> np.ndarray:
    """What the windows of `trials` should hold."""
    first = trials["onset_row"].to_numpy()[:, None, None] + start_row
    place = (trials["session"] * 1e6 + trials["task_run"] * 1e4).to_numpy()[:, None, None]
    rows = np.arange(n_tr)[:, None]
    return (place + (first + rows) * 10 + np.arange(VOXELS)).astype(np.float32)


@pytest.mark.parametrize(("start_s", "row"), [(3.0, 2), (4.0, 3), (3.0 - 8 * 4 / 3, -6), (0.0, 0)])
def test_the_nearest_sample(start_s, row):
    assert nearest_sample(start_s, TR_S) == row


@pytest.mark.parametrize("start_row", [2, 3, 0, -5])
def test_reads_the_samples_of_its_own_run(files, trials, start_row):
    windows = Windows(files, trials, window(start_row), NSD_PREP)
    indices = np.random.default_rng(0).permutation(len(trials))[:25]
    batch = windows[indices]
    assert batch.dtype == np.float32
    assert windows.dropped == 0
    assert windows.n_voxels == VOXELS
    np.testing.assert_array_equal(batch, address(trials.iloc[indices], start_row, 6))


@pytest.mark.survives(
    "results",
    "A window begins before its run or ends after it",
    "It is dropped and counted, never padded",
)
@pytest.mark.parametrize(
    ("start_row", "kept_onsets"),
    [
        (9, {9, 12, 90, 207, 210}),
        (10, {9, 12, 90, 207}),
        (-9, {9, 12, 90, 207, 210}),
        (-10, {12, 90, 207, 210}),
        (-13, {90, 207, 210}),
        (16, {9, 12, 90}),
    ],
)
def test_drops_and_counts_windows_that_leave_their_run(files, trials, start_row, kept_onsets):
    windows = Windows(files, trials, window(start_row), NSD_PREP)
    kept = trials[trials["onset_row"].isin(kept_onsets)]
    assert windows.trials["trial"].tolist() == kept["trial"].tolist()
    assert windows.dropped == len(trials) - len(kept)
    np.testing.assert_array_equal(windows[:], address(kept, start_row, 6))


def test_indexes_like_an_array(files, trials):
    windows = Windows(files, trials, window(2), NSD_PREP)
    np.testing.assert_array_equal(windows[np.array([-1])], windows[[59]])
    assert windows[5:9].shape == (4, 6, VOXELS)
    assert windows[3].shape == (1, 6, VOXELS)
    with pytest.raises(IndexError):
        windows[[60]]


def test_reads_float16_as_float32(tmp_path, trials):
    series = np.random.default_rng(0).standard_normal((12, 225, VOXELS)).astype(np.float16)
    np.save(tmp_path / "session01.npy", series)
    windows = Windows(
        {1: tmp_path / "session01.npy"}, trials[trials["session"] == 1], window(2), NSD_PREP
    )
    assert windows[[0]].dtype == np.float32
    np.testing.assert_array_equal(windows[[0]][0], series[0, 11:17])


def test_averaged_is_the_mean_over_the_repetitions_of_each_image(files, trials):
    windows = Windows(files, trials, window(2), NSD_PREP)
    averaged = windows.averaged()
    assert averaged.trials["image_id"].tolist() == list(range(100, 120))
    assert (averaged.trials["trial"] == -1).all()
    assert (averaged.trials["repetitions"] == 3).all()
    for index, image in [(0, 100), (13, 113)]:
        members = trials[trials["image_id"] == image]
        expected = address(members, 2, 6).mean(axis=0)
        np.testing.assert_allclose(averaged[[index]][0], expected, rtol=1e-6)
    np.testing.assert_array_equal(averaged[:][5:7], averaged[5:7])


def test_averaged_leaves_out_dropped_windows(files, trials):
    averaged = Windows(files, trials, window(10), NSD_PREP).averaged()
    assert averaged.dropped == 12
    assert averaged.trials["repetitions"].sum() == 48


def test_one_repetition_draws_one_trial_per_image(trials):
    drawn = one_repetition(trials, seed=0)
    assert drawn["image_id"].is_unique
    assert set(drawn["image_id"]) == set(trials["image_id"])
    assert drawn["trial"].is_monotonic_increasing
    assert drawn["trial"].tolist() != one_repetition(trials, seed=1)["trial"].tolist()
    # Which repetitions an image has of its own is all that its draw depends on.
    some = trials[trials["image_id"] < 108]
    expected = drawn[drawn["image_id"] < 108]
    pd.testing.assert_frame_equal(one_repetition(some, seed=0), expected)


def test_one_repetition_draws_each_repetition_as_often():
    trials = pd.DataFrame({"image_id": np.tile(np.arange(1000), 3), "repetition": 0})
    trials["repetition"] = trials.groupby("image_id").cumcount()
    counts = one_repetition(trials, seed=0)["repetition"].value_counts()
    assert counts.between(280, 387).all()


def test_drawn_trials_are_those_of_any_split_and_number(trials):
    chosen = drawn(trials, 20, seed=0)
    assert len(chosen) == 20
    assert chosen["trial"].is_monotonic_increasing
    assert chosen["trial"].tolist() != drawn(trials, 20, seed=1)["trial"].tolist()
    assert set(drawn(trials, 10, seed=0)["trial"]) < set(chosen["trial"])
    assert len(drawn(trials, 10**6, seed=0)) == len(trials)
    # Those that a split shares with another are drawn of both.
    some = trials[trials["trial"] % 5 > 0]
    assert set(chosen["trial"]) & set(some["trial"]) <= set(drawn(some, 20, seed=0)["trial"])


@pytest.mark.survives(
    "results",
    "Some trials of a limited test set are drawn, and a window leaves its run",
    "Every window has the same draw; a trial that leaves its run is dropped there alone",
)
def test_every_window_has_the_same_drawn_trials(load):
    few = load("test", at_most=8)
    assert len(few) == 8
    late = load("test", start_row=11, at_most=8)
    assert late.dropped > 0
    assert len(late) + late.dropped == 8
    assert set(late.trials["trial"]) < set(few.trials["trial"])
    other = load("test", at_most=8, seed=1)
    assert other.trials["trial"].tolist() != few.trials["trial"].tolist()


def test_load_windows_selects_part_and_trials(load, trials):
    test = trials[trials["shared"]]
    assert load("test", "all").trials["trial"].tolist() == test["trial"].tolist()
    assert len(load("train", "all")) == 45
    np.testing.assert_array_equal(load("test", "all")[:], address(test, 2, 6))
    assert len(load("test", "one_repetition")) == 5
    assert load("test", "averaged")[:].shape == (5, 6, VOXELS)


def test_load_windows_refuses_an_empty_part(load, trials, tmp_path):
    write_split(trials, np.full(len(trials), "train"), tmp_path / "split.parquet")
    with pytest.raises(UserError, match=r"split\.parquet: no trial is test"):
        load("test")


@pytest.mark.survives(
    "results",
    "The sessions of a subject were prepared with other voxels",
    "The stage stops and names the session that differs",
)
def test_refuses_a_missing_session_and_other_voxels(files, trials):
    np.save(files[2], np.zeros((12, 225, VOXELS + 1), np.float32))
    with pytest.raises(UserError, match=r"session02\.npy.*same voxels"):
        Windows(files, trials, window(2), NSD_PREP)
    files[2].unlink()
    with pytest.raises(UserError, match=r"session02\.npy.*prepare"):
        Windows(files, trials, window(2), NSD_PREP)


def test_windows_at_another_sampling_period_start_at_the_nearest_sample(tmp_path, trials):
    first = first_samples(trials, Window(start_s=3.0, n_tr=5), FMRIPREP)[1]
    start_s = trials["onset_s"].to_numpy() + 3.0
    times = 0.775 + 1.6 * np.arange(188)
    nearest = np.abs(times - start_s[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(first, nearest)


@pytest.mark.parametrize("shift", [-3, -1, 1, 2, 7])
@pytest.mark.parametrize("preprocessing", [NSD_PREP, FMRIPREP], ids=["4/3 s", "1.6 s"])
def test_a_shift_is_one_sample_of_the_series_at_hand(trials, preprocessing, shift):
    main = Window(start_s=3.0, n_tr=5)
    runs, first = first_samples(trials, main, preprocessing)
    moved_runs, moved = first_samples(trials, main.shifted(shift), preprocessing)
    np.testing.assert_array_equal(moved, first + shift)
    np.testing.assert_array_equal(moved_runs, runs)


@pytest.mark.parametrize("start_s", [3.0, 4.0, 4.6, 0.0, -2.0, 2 / 3, 9.99])
def test_shifts_of_nsd_s_own_series_are_design_rows(start_s):
    """Where windows of a shift have always been: at `start_s` plus so many times 4/3 s."""
    rows = np.arange(225)
    every = pd.DataFrame({"task_run": 1, "onset_row": rows, "onset_s": rows * TR_S})
    for shift in range(-8, 9):
        _, first = first_samples(every, Window(start_s=start_s, n_tr=6, shift=shift), NSD_PREP)
        later_s = start_s + shift * TR_S
        expected = np.floor(np.round((rows * TR_S + later_s) / TR_S, 6) + 0.5)
        np.testing.assert_array_equal(first, expected)


@pytest.mark.survives(
    "results",
    "A shift moves a window out of the runs of every trial",
    "The stage stops and names the window and the length of a run",
)
def test_windows_that_no_trial_has(files, trials):
    with pytest.raises(UserError, match=r"shifted by 220: .* run of 225 samples, found none of 60"):
        Windows(files, trials, window(2).shifted(218).shifted(2), NSD_PREP)


def test_betas_are_read_by_the_trials_place_in_its_session(tmp_path, trials):
    values = np.arange(750 * VOXELS, dtype=np.float32).reshape(750, 1, VOXELS)
    np.save(tmp_path / "session02.npy", values)
    second = with_place(trials).query("session == 2")
    betas = Betas(kind="betas")
    windows = Windows({2: tmp_path / "session02.npy"}, second, Window(start_s=0, n_tr=1), betas)
    assert windows.dropped == 0
    np.testing.assert_array_equal(windows[[0, 7]], values[[0, 7]])


def test_load_windows_of_few_sessions(load):
    few = load("train", sessions=1)
    assert set(few.trials["session"]) == {1}


@pytest.mark.survives(
    "files",
    "A prepared session is cut, longer than it says, of another type, or no array",
    "It is refused when it is opened, before a sample is read",
)
@pytest.mark.parametrize(
    "change", ["cut", "longer", "empty", "html", "integers", "fortran", "archive", "swapped"]
)
def test_sessions_of_another_kind(files, trials, change):
    path, series = files[2], np.load(files[2])
    content = path.read_bytes()
    damage = {"cut": content[:-4], "longer": content + bytes(4), "html": b"<html></html>"}
    path.write_bytes(damage.get(change, b""))
    saved = {
        "integers": series.astype(np.int32),
        "fortran": np.asfortranarray(series),
        "swapped": series.astype(">f4"),
    }
    if change in saved:
        np.save(path, saved[change])
    if change == "archive":
        with path.open("wb") as file:
            np.savez(file, series)
    with pytest.raises(UserError, match=r"session02\.npy: expected the clean series .*found"):
        Windows(files, trials, window(2), NSD_PREP)


@pytest.mark.survives(
    "results",
    "The trial table has images after the end of a prepared run",
    "The stage stops and names the onset and the length of the run; none is dropped in silence",
)
def test_onsets_after_the_end_of_a_run(files, trials):
    late = trials.assign(onset_s=trials["onset_s"] + 24)
    with pytest.raises(UserError, match=r"a run of more than 304 s, .* 225 volumes, 300 s"):
        Windows(files, late, window(2), NSD_PREP)


@pytest.mark.survives(
    "results",
    "A prepared session has fewer runs than the trial table",
    "The stage stops and names both numbers",
)
def test_sessions_with_fewer_runs(files, trials):
    for path in files.values():
        np.save(path, np.load(path)[:11])
    with pytest.raises(UserError, match=r"expected at least 12 series.*found 11"):
        Windows(files, trials, window(2), NSD_PREP)


@pytest.mark.survives(
    "files",
    "A trial table is cut, lacks a column, or holds what no trial can",
    "Its columns and ranges are looked at; the stage stops and names what is wrong",
)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"onset_s": -4.0}, "expected onset_s from 0, found -4.0"),
        ({"onset_s": float("inf")}, "expected onset_s from 0, found inf"),
        ({"onset_s": 4}, "column onset_s of int64"),
        ({"task_run": 0}, "expected task_run from 1, found 0"),
        ({"image_id": 1.5}, "column image_id of float64"),
        ({"session": None}, "column session of"),
        ("column", "no column image_id"),
        ("cut", "expected a table of trials"),
        ("html", "expected a table of trials"),
        ("gone", "found no file"),
    ],
)
def test_trial_tables_that_are_not(load, trials, tmp_path, change, found):
    path = tmp_path / "trials.parquet"
    if isinstance(change, dict):
        trials = trials.assign(**change)
    if change == "column":
        trials = trials.drop(columns="image_id")
    trials.to_parquet(path, index=False, write_page_checksum=True)
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if change == "html":
        path.write_text("<html></html>")
    if change == "gone":
        path.unlink()
    with pytest.raises(UserError, match=rf"trials\.parquet: .*{found}"):
        load("test")


@pytest.mark.survives(
    "files",
    "A split is of other trials than the table beside it, or says what no split can",
    "No trial is trained or tested on by mistake: the stage stops and names the file",
)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"trial": 0}, "expected the 60 trials of the trial table, found others"),
        ("fewer", "expected the 60 trials of the trial table, found others"),
        ({"split": "tset"}, "expected train, test or excluded, found {'tset'}"),
        ({"split": 1}, "column split of int64"),
        ("gone", "found no file"),
    ],
)
def test_splits_that_are_not(load, trials, tmp_path, change, found):
    path = tmp_path / "split.parquet"
    split = pd.read_parquet(path)
    split = split.assign(**change) if isinstance(change, dict) else split[:-1]
    split.to_parquet(path, index=False)
    if change == "gone":
        path.unlink()
    told = rf"split\.parquet: .*{found}.*; run the stage `split` again"
    with pytest.raises(UserError, match=told):
        load("test")


@pytest.mark.parametrize("parts", [["train"] * 59, ["tset"] * 60])
def test_a_split_says_one_part_of_each_trial(trials, tmp_path, parts):
    with pytest.raises(UserError, match="for each of 60 trials, found"):
        write_split(trials, np.array(parts), tmp_path / "split.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.survives(
    "files",
    "A bit of a trial table is flipped",
    "The checksums of its pages do not agree; no other trial is read than was written",
)
def test_bits_of_a_trial_table(trials, tmp_path):
    path = tmp_path / "trials.parquet"
    write_trials(trials, path)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    refused = 0
    for place in range(4, len(content) - 8 - footer, 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            pd.testing.assert_frame_equal(read_trials(path), trials)
        except UserError:
            refused += 1
    assert refused > 100
