"""Windows of the clean series around trials: slices of files on disk, never copies."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from boldvision.config import Betas, Preprocessing, Window
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.seeds import derive
from boldvision.trials.table import read_split, read_trials


class Windows:
    """One window per trial; ``windows[indices]`` reads a batch.

    Another shift costs nothing on disk. A window that leaves its run is dropped and counted, never
    padded.

    Parameters
    ----------
    series_files
        Clean series of each session, ``.npy`` [runs, volumes, voxels]; betas: [trials, 1, voxels].
    trials
        Rows of the trial table; for betas with `place`, from :func:`with_place`.
    window
        Which stretch of the series.
    preprocessing
        What the series are: it says when their samples were taken.

    Attributes
    ----------
    trials : pandas.DataFrame
        The trials that have a window, in the given order.
    dropped : int
        Trials whose window leaves its run.
    n_voxels : int

    Raises
    ------
    UserError
        A session's file is missing or damaged, is of another type, or has another shape than the
        others or than the trials need; or no trial has a window inside of its run.
    ValueError
        There are no trials.
    """

    def __init__(
        self,
        series_files: Mapping[int, Path],
        trials: pd.DataFrame,
        window: Window,
        preprocessing: Preprocessing,
    ):
        if trials.empty:
            raise ValueError("expected trials, found none")
        self._files, self.n_tr = series_files, window.n_tr
        self._window, self._preprocessing = window, preprocessing
        self._series = _open(series_files, trials["session"].unique())
        _, n_volumes, self.n_voxels = next(iter(self._series.values())).shape
        self._require_onsets(trials["onset_s"].max(), n_volumes)
        series, first = first_samples(trials, window, preprocessing)
        inside = (first >= 0) & (first + self.n_tr <= n_volumes)
        if not inside.any():
            raise UserError(
                f"window of {self.n_tr} samples from {window.start_s:g} s after onset, shifted by "
                f"{window.shift}: expected some that lie in their run of {n_volumes} samples, "
                f"found none of {len(trials)}; change `windows`, or a shift of the test set"
            )
        self.trials = trials[inside].reset_index(drop=True)
        self.dropped = int(np.sum(~inside))
        self._require_series(series)
        self._where = np.stack([self.trials["session"], series[inside], first[inside]], axis=1)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, indices: np.ndarray | slice) -> np.ndarray:
        """Windows of these positions in `trials`, float32 [batch, n_tr, voxels].

        The disk is told of all before the first is waited for.
        """
        stored = [
            self._series[session][run, row : row + self.n_tr]
            for session, run, row in self._where[indices].reshape(-1, 3).tolist()
        ]
        for window in stored:
            _announce(window)
        batch = np.empty((len(stored), self.n_tr, self.n_voxels), np.float32)
        for window, values in zip(batch, stored, strict=True):
            window[:] = values
        return batch

    def _require_onsets(self, last_s: float, n_volumes: int) -> None:
        """Raise UserError if an image appears when its run is over."""
        if isinstance(self._preprocessing, Betas):
            return
        end_s = self._preprocessing.first_volume_s + n_volumes * self._preprocessing.tr_s
        if last_s > end_s:
            raise UserError(
                f"{next(iter(self._files.values()))}: expected a run of more than {last_s:g} s, "
                f"the last onset of the trial table, found {n_volumes} volumes, {end_s:g} s; "
                "prepare this session again, or run the stage `trials` again"
            )

    def _require_series(self, series: np.ndarray) -> None:
        found = min(len(values) for values in self._series.values())
        if series.min() < 0 or series.max() >= found:
            raise UserError(
                f"{next(iter(self._files.values()))}: expected at least {series.max() + 1} series, "
                f"as the trial table says, found {found}; prepare this session again, or run the "
                "stage `trials` again"
            )

    def averaged(self) -> AveragedWindows:
        """One window per image: the mean over its repetitions (paper, Table 7)."""
        return AveragedWindows(self)


class AveragedWindows:
    """Mean over the repetitions of each image, read like `Windows`.

    Attributes
    ----------
    trials : pandas.DataFrame
        One row per image, by `image_id`; `trial` is -1, `repetitions` counts the windows averaged.
    dropped : int
        Trials whose window leaves its run; the mean is over the others.
    n_voxels : int
    """

    def __init__(self, windows: Windows):
        groups = windows.trials.groupby("image_id").indices
        self._windows = windows
        self._members = [groups[image] for image in sorted(groups)]
        self.trials = pd.DataFrame(
            {
                "trial": -1,
                "image_id": sorted(groups),
                "repetitions": [len(members) for members in self._members],
            }
        )
        self.dropped, self.n_voxels, self.n_tr = windows.dropped, windows.n_voxels, windows.n_tr

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, indices: np.ndarray | slice) -> np.ndarray:
        """Mean windows of these positions in `trials`, float32 [batch, n_tr, voxels]."""
        images = np.atleast_1d(np.arange(len(self))[indices])
        batch = np.empty((len(images), self.n_tr, self.n_voxels), np.float32)
        for window, image in zip(batch, images, strict=True):
            self._windows[self._members[image]].mean(axis=0, out=window)
        return batch


def with_place(trials: pd.DataFrame) -> pd.DataFrame:
    """A whole trial table with `place`, of a trial in its session: 0-based, in order."""
    return trials.assign(place=trials.groupby("session").cumcount())


def first_samples(
    trials: pd.DataFrame, window: Window, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows of trials begin.

    In a run, the sample whose time is nearest to the window's start, or as many later as the window
    is shifted by. Betas are one series of one sample per trial, in order of presentation.

    Returns
    -------
    series : int64 [trials]
        Task run - 1, or the trial's place in its session.
    first : int64 [trials]
        Sample of that series; outside of it where the window leaves the run.

    Raises
    ------
    UserError
        A window of betas is not their one sample.
    """
    if isinstance(preprocessing, Betas):
        preprocessing.require(window, "window")
        series = trials["place"].to_numpy()
        return series, np.zeros_like(series)
    start_s = trials["onset_s"].to_numpy() + window.start_s
    first = nearest_sample(start_s - preprocessing.first_volume_s, preprocessing.tr_s)
    return trials["task_run"].to_numpy() - 1, first + window.shift


def nearest_sample(time_s: np.ndarray | float, tr_s: float) -> np.ndarray:
    """Sample nearest to a time since the first one, int64; the later of two that are as near."""
    # The inner rounding is for times that lie half-way between two samples.
    return np.floor(np.round(np.asarray(time_s) / tr_s, 6) + 0.5).astype(np.int64)


def one_repetition(trials: pd.DataFrame, seed: int) -> pd.DataFrame:
    """One trial per image, drawn among its repetitions (paper, section 2.3).

    The draw of an image depends on the seed and its id alone. Rows are in order of presentation.
    """
    chosen = [
        positions[derive(seed, "one_repetition", int(image)) % len(positions)]
        for image, positions in trials.groupby("image_id").indices.items()
    ]
    return trials.iloc[np.sort(chosen)]


def drawn(trials: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """At most `count` of the trials.

    The draw depends on the seed and the trials alone: fewer are among more, and splits that share
    trials share those drawn. Rows are in order of presentation.
    """
    rank = [derive(seed, "drawn_trial", int(trial)) for trial in trials["trial"]]
    return trials.iloc[np.sort(np.argsort(rank)[:count])]


def load_windows(
    bold_folder: Path,
    trials_parquet: Path,
    split_parquet: Path,
    window: Window,
    preprocessing: Preprocessing,
    part: Literal["train", "test"],
    trials: Literal["all", "one_repetition", "averaged"] = "all",
    seed: int = 0,
    sessions: int | None = None,
    at_most: int | None = None,
) -> Windows | AveragedWindows:
    """Windows of one part of a split.

    Parameters
    ----------
    bold_folder, trials_parquet, split_parquet
        Folder of ``session01.npy`` … of the subject, its trial table, and a split of it.
    window, preprocessing
        Which stretch of which series.
    part
        Which trials.
    trials, seed
        All of them, one repetition per image, drawn by the seed, or the mean over repetitions.
    sessions
        Only trials of the first sessions; `None` is all.
    at_most
        Draw so many trials, the same for every window.

    Raises
    ------
    UserError
        The trial table or a session's file is missing or damaged, or the part has no trial.
    """
    table = with_place(read_trials(trials_parquet))
    table = table[read_split(split_parquet, table) == part]
    table = table[table["session"] <= (sessions or np.inf)]
    if trials == "one_repetition":
        table = one_repetition(table, seed)
    if at_most:
        table = drawn(table, at_most, seed)
    if table.empty:
        raise UserError(
            f"{split_parquet}: no trial is {part}; expected some; "
            "see `sessions` and `time_resolved_test_runs` in the configuration"
        )
    used = table["session"].unique().tolist()
    files = {n: Path(bold_folder) / f"session{n:02d}.npy" for n in used}
    windows = Windows(files, table, window, preprocessing)
    return windows.averaged() if trials == "averaged" else windows


def _open(files: Mapping[int, Path], sessions: np.ndarray) -> dict[int, np.ndarray]:
    """Memory-map the series of these sessions; plain arrays, which slice faster than memmaps."""
    series: dict[int, np.ndarray] = {}
    for session in sorted(sessions.tolist()):
        path = files[session]
        expected = f"the clean series of session {session}, float16 or float32"
        with reading(path, expected, "prepare this session again"):
            series[session] = _map(path)
        first = next(iter(series.values())).shape
        if len(first) != 3 or series[session].shape != first:
            raise UserError(
                f"{path}: expected [runs, volumes, voxels] as in the other sessions, {first}, "
                f"found {series[session].shape}; prepare the sessions with the same voxels"
            )
    return series


def _announce(mapped: np.ndarray) -> None:
    """Have the system read a contiguous piece of a mapped file, without waiting for it."""
    pages: Any = mapped.base
    while isinstance(pages, np.ndarray):
        pages = pages.base
    start = mapped.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
    first = start - start % mmap.PAGESIZE
    pages.madvise(mmap.MADV_WILLNEED, first, start + mapped.nbytes - first)


def _map(path: Path) -> np.ndarray:
    mapped = np.lib.format.open_memmap(path, mode="r")
    if mapped.dtype not in (np.float16, np.float32) or not mapped.flags.c_contiguous:
        raise ValueError(f"{mapped.dtype} {mapped.shape}")
    end = mapped.offset + mapped.nbytes
    if path.stat().st_size != end:
        raise ValueError(f"{path.stat().st_size} bytes in place of {end}")
    return np.asarray(mapped)
