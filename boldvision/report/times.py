"""When a window lies, in seconds after the onset of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boldvision.config import TR_S, Window, split_window_name
from boldvision.errors import UserError
from boldvision.trials.windows import first_row

STIMULUS_S = 3.0
"""How long an image is shown, s (NSD)."""

TRIAL_S = 4.0
"""From one image to the next, s (NSD)."""


@dataclass(frozen=True)
class WindowTimes:
    """The samples ``first_row … first_row + n_tr - 1`` relative to the onset row."""

    first_row: int
    n_tr: int

    @property
    def start_s(self) -> float:
        """Lower end of the window, s after onset: the time of its first sample."""
        return self.first_row * TR_S

    @property
    def upper_end_s(self) -> float:
        """Upper end of the window, s after onset (the time axis of figure 5)."""
        return (self.first_row + self.n_tr) * TR_S

    @property
    def last_sample_s(self) -> float:
        """Time of the last sample, s after onset."""
        return (self.first_row + self.n_tr - 1) * TR_S

    @property
    def centre_s(self) -> float:
        """Mean time of the samples, s after onset."""
        return (self.first_row + (self.n_tr - 1) / 2) * TR_S


def times(name: str, windows: Mapping[str, Mapping[str, Any]]) -> WindowTimes:
    """Times of the named window, for example ``main+2``.

    Parameters
    ----------
    name : str
        A name of `windows`, or one shifted by TRs.
    windows : mapping
        ``windows`` of the configuration: name to ``start_s`` (s) and ``n_tr``.

    Raises
    ------
    UserError
        The window is not in the configuration.
    """
    base, shift = split_window_name(name)
    if base not in windows:
        raise UserError(f"window {name}: expected one of {', '.join(windows)}; add it to `windows`")
    window = Window(**windows[base])
    moved = window.model_copy(update={"start_s": window.start_s + shift * TR_S})
    return WindowTimes(first_row(moved), moved.n_tr)


def shifted(name: str, shift: int) -> str:
    """Name of window `name` moved by `shift` TRs."""
    base, already = split_window_name(name)
    total = already + shift
    return f"{base}{total:+d}" if total else base
