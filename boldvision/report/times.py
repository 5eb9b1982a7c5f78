"""When a window lies, in seconds after the onset of the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from boldvision.config import Window, split_window_name
from boldvision.errors import UserError
from boldvision.report.results import Result
from boldvision.trials.windows import nearest_sample


@dataclass(frozen=True)
class Timing:
    """How images follow each other in the experiment.

    Attributes
    ----------
    stimulus_s
        How long an image is shown, s.
    trial_s
        From the onset of an image to the next, s, where nothing lies between.
    """

    stimulus_s: float
    trial_s: float


@dataclass(frozen=True)
class WindowTimes:
    """The samples ``first … first + n_tr - 1``, counted from the one at the image's onset.

    Where onsets lie between samples, as with fMRIPrep's, a trial's window is up to a sampling
    period off: half of it is the rounding here, half that of each trial.
    """

    first: int
    n_tr: int
    tr_s: float

    @property
    def start_s(self) -> float:
        """Lower end of the window, s after onset: the time of its first sample."""
        return self.first * self.tr_s

    @property
    def upper_end_s(self) -> float:
        """Upper end of the window, s after onset (the time axis of figure 5)."""
        return (self.first + self.n_tr) * self.tr_s

    @property
    def last_sample_s(self) -> float:
        """Time of the last sample, s after onset."""
        return (self.first + self.n_tr - 1) * self.tr_s

    @property
    def centre_s(self) -> float:
        """Mean time of the samples, s after onset."""
        return (self.first + (self.n_tr - 1) / 2) * self.tr_s

    @property
    def duration_s(self) -> float:
        """Samples times their period, s."""
        return self.n_tr * self.tr_s


def times(name: str, windows: Mapping[str, Mapping[str, Any]], tr_s: float | None) -> WindowTimes:
    """Times of the named window, for example ``main+2``.

    Parameters
    ----------
    name : str
        A name of `windows`, or one shifted by samples.
    windows : mapping
        ``windows`` of the configuration: name to ``start_s`` (s) and ``n_tr``.
    tr_s : float or None
        Sampling period of the series, s; None of betas.

    Raises
    ------
    UserError
        The window is not in the configuration, or the series are betas.
    """
    base, shift = split_window_name(name)
    if base not in windows:
        raise UserError(f"window {name}: expected one of {', '.join(windows)}; add it to `windows`")
    tr_s = _period(tr_s, f"window {name}")
    window = Window(**windows[base]).shifted(shift)
    return WindowTimes(int(nearest_sample(window.start_s, tr_s)) + window.shift, window.n_tr, tr_s)


def one_period(evaluations: Iterable[Result]) -> float:
    """The sampling period that the series of all evaluations have, s.

    Raises
    ------
    UserError
        They have several, or are betas.
    """
    found = {e.run: e.tr_s for e in evaluations}
    if len(set(found.values())) > 1:
        several = ", ".join(
            f"{run} {tr_s:.3g}" if tr_s else f"{run} none" for run, tr_s in found.items()
        )
        raise UserError(
            f"runs table: expected series of one sampling period (s) on one axis, found {several}; "
            "give them an item each"
        )
    return _period(next(iter(found.values())), f"runs {', '.join(found)}")


def _period(tr_s: float | None, where: str) -> float:
    if tr_s is None:
        raise UserError(
            f"{where}: expected models over time series, found betas, which have no time; take "
            "them out of this figure's rows in the runs table"
        )
    return tr_s


def shifted(name: str, shift: int) -> str:
    """Name of window `name` moved by `shift` samples."""
    base, already = split_window_name(name)
    total = already + shift
    return f"{base}{total:+d}" if total else base
