"""Figure 4: what a model sees when its window moves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from boldvision.errors import UserError
from boldvision.hdf5 import open_pictures
from boldvision.report import results, style
from boldvision.report.curves import curves, one_models, origin
from boldvision.report.pictures import (
    TITLE_WIDTH,
    read_images,
    read_reconstructions,
    row_label,
    show,
)
from boldvision.report.times import Timing, WindowTimes, shifted, times


@dataclass(frozen=True)
class Moment:
    """A trial with its neighbours: image_ids and the trial's 0-based number."""

    trial: int
    previous: int
    current: int
    next: int


@dataclass(frozen=True)
class Cells:
    """Reconstructions of one row: shift in samples to the file; ``absence``: why others lack."""

    name: str
    files: dict[int, Path]
    absence: str


def cells(rows: Sequence[Mapping[str, Any]], shifts: Sequence[int]) -> list[Cells]:
    """Which file holds the reconstructions of every row and shift.

    Parameters
    ----------
    rows : sequence of mapping
        As `results.read` takes them, of one subject, and ``reconstructions`` (folder of
        ``{test_window}.h5``).
    shifts : sequence of int
        Shifts of the test window, samples, from `boldvision.report.curves.origin`.

    Raises
    ------
    UserError
        A row has no picture to show.
    """
    evaluations = results.read(rows)
    folders = {id(e): Path(r["reconstructions"]) for e, r in zip(evaluations, rows, strict=True)}
    windows = {shift: shifted(origin(evaluations), shift) for shift in shifts}
    single = one_models(evaluations)
    found = []
    for name, models in curves(evaluations).items():
        files = {
            shift: folders[id(models[window])] / f"{window}.h5"
            for shift, window in windows.items()
            if window in models
        }
        if not files:
            raise UserError(
                f"figure 4: row {name!r} of the runs table: expected a model tested in one of "
                f"{', '.join(windows.values())}, found {', '.join(models)}; correct its window or "
                "`figures: figure_4: shifts`"
            )
        absence = "not tested" if name in single else "not trained\nin this scope"
        found.append(Cells(name, files, absence))
    return found


def choose(
    trials: pd.DataFrame, reconstructed: set[int], count: int, trial_s: float
) -> list[Moment]:
    """Trials to show: evenly spaced over those that were reconstructed and have both neighbours.

    A neighbour was shown `trial_s` before or after, in the same run.

    Parameters
    ----------
    trials : DataFrame
        Trial table of the subject.
    reconstructed : set of int
        Trials that every file has.
    count : int
        How many.
    trial_s : float
        As `Timing` has it.

    Raises
    ------
    UserError
        Fewer trials than `count` have such neighbours.
    """
    table = trials.sort_values("trial")
    keep = np.ones(len(table), bool)
    for by in (1, -1):
        other = table.shift(by)
        keep &= (table["session"] == other["session"]) & (table["task_run"] == other["task_run"])
        keep &= np.isclose(table["onset_s"] - other["onset_s"], by * trial_s)
    images = table["image_id"]
    table = table.assign(previous=images.shift(1), next=images.shift(-1))
    found = table[keep & table["trial"].isin(reconstructed)]
    if len(found) < count:
        raise UserError(
            f"figure 4: {count} trials wanted, {len(found)} have both neighbours and a "
            "reconstruction in every window; lower `figures: figure_4: trials`"
        )
    places = np.linspace(0, len(found) - 1, count + 2)[1:-1].round().astype(int)
    return [
        Moment(int(r.trial), int(r.previous), int(r.image_id), int(r.next))
        for r in found.iloc[places].itertuples(index=False)
    ]


def reconstructed_trials(rows: list[Cells]) -> set[int]:
    """Trials that every file of every row has."""
    common: set[int] | None = None
    for path in {path for row in rows for path in row.files.values()}:
        with open_pictures(path) as file:
            trials = set(file["trial"][:].tolist())
        common = trials if common is None else common & trials
    return common or set()


@style.styled()
def figure_4(
    rows: list[Cells],
    moments: list[Moment],
    stimuli: Path,
    training_window: str,
    windows: Mapping[str, Mapping[str, Any]],
    tr_s: float,
    timing: Timing,
    blur: bool,
    note: str = "",
) -> Figure:
    """Reconstructions of successive windows below the images that were shown (paper, Figure 4).

    Parameters
    ----------
    rows : list of Cells
        From `cells`.
    moments : list of Moment
        From `choose`.
    stimuli : Path
        ``images`` uint8 [N, px, px, 3] and ``image_id`` of the subject.
    training_window : str
        Window at shift 0: `boldvision.report.curves.origin`.
    windows : mapping
        ``windows`` of the configuration.
    tr_s : float
        Sampling period of the series of all rows, s.
    timing : Timing
    blur : bool
        Whether faces in reconstructions are blurred.
    note : str
        What to know about the data; shown above the images.
    """
    shifts = sorted({shift for row in rows for shift in row.files})
    decoded = _read(rows, moments, blur)
    columns = [times(shifted(training_window, shift), windows, tr_s) for shift in shifts]
    step = round(timing.trial_s / tr_s)
    places = [shifts.index(shift) if shift in shifts else None for shift in (-step, 0, step)]
    figure, grid = _canvas(len(moments), 1 + len(rows), len(shifts))
    for k, moment in enumerate(moments):
        top = k * (2 + len(rows))
        _draw_stimuli(figure, grid, top, places, moment, stimuli, timing)
        for r, row in enumerate(rows, start=1):
            images = [decoded[row.name, shift][k] if shift in row.files else None
                      for shift in shifts]  # fmt: skip
            bottom = _draw_row(figure, grid, top + r, row, images)
    _name_windows(figure, bottom, columns)
    style.note(figure, note)
    return figure


def _read(
    rows: list[Cells], moments: list[Moment], blur: bool
) -> dict[tuple[str, int], np.ndarray]:
    """Row and shift: the reconstructions of all moments."""
    trials = [moment.trial for moment in moments]
    return {
        (row.name, shift): read_reconstructions(path, "trial", trials, blur)
        for row in rows
        for shift, path in row.files.items()
    }


def _name_windows(figure: Figure, bottom: list[Axes], columns: list[WindowTimes]) -> None:
    """The time of each column's window, below its last picture."""
    for axes, t in zip(bottom, columns, strict=True):
        axes.set_xlabel(f"{t.start_s:.1f} to\n{t.upper_end_s:.1f} s".replace("-", "−"))
    figure.supxlabel("Test window (s after the onset of the current image)", fontsize=8, y=0.006)


def _canvas(n_moments: int, n_rows: int, n_columns: int) -> tuple[Figure, GridSpec]:
    """A figure of square cells: a block of rows per moment, a gap between blocks."""
    left, top, bottom, gap = 0.85, 0.45, 0.6, 0.32  # inches; the gap in cells
    cell = (style.WIDTH_IN - left) / n_columns
    heights = [*([1.0] * n_rows + [gap]) * n_moments][:-1]
    total = top + bottom + cell * sum(heights)
    figure = Figure(figsize=(style.WIDTH_IN, total))
    grid = figure.add_gridspec(
        len(heights),
        n_columns,
        height_ratios=heights,
        wspace=0.05,
        hspace=0.05,
        left=left / style.WIDTH_IN,
        right=0.995,
        top=1 - top / total,
        bottom=bottom / total,
    )
    return figure, grid


def _draw_stimuli(
    figure: Figure,
    grid: GridSpec,
    top: int,
    places: list[int | None],
    moment: Moment,
    stimuli: Path,
    timing: Timing,
) -> None:
    """Previous, current and next image, in the columns whose windows lie where theirs would."""
    label = figure.add_subplot(grid[top, 0])
    label.set_axis_off()
    row_label(label, "Stimuli")
    shown = read_images(stimuli, "image_id", [moment.previous, moment.current, moment.next])
    apart = f"{timing.trial_s:.0f} s"
    names = (f"Previous (−{apart})", "Current (0 s)", f"Next (+{apart})")
    for column, image, name in zip(places, shown, names, strict=True):
        if column is not None:
            axes = figure.add_subplot(grid[top, column])
            show(axes, image)
            axes.set_title(name, fontsize=7, pad=2)


def _draw_row(
    figure: Figure, grid: GridSpec, place: int, row: Cells, images: list[np.ndarray | None]
) -> list[Axes]:
    line = [figure.add_subplot(grid[place, column]) for column in range(len(images))]
    for axes, image in zip(line, images, strict=True):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if image is None:
            _show_absence(axes, row.absence)
        else:
            axes.imshow(image, interpolation="nearest")
    row_label(line[0], textwrap.fill(row.name, TITLE_WIDTH))
    return line


def _show_absence(axes: Axes, text: str) -> None:
    axes.set_facecolor("#f4f4f4")
    axes.spines[:].set(visible=True, linestyle=":", color=style.FAINT)
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=6.5, color="#555555",
              transform=axes.transAxes)  # fmt: skip
