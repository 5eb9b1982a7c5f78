"""One look for every figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from boldvision.errors import UserError
from boldvision.files import atomic

WIDTH_IN = 7.0
"""Width of a figure, inches: two columns of a page."""

NOTE_WIDTH = 105
"""Characters of 8 points in a line as wide as a figure."""

RC: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib: the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "svg.hashsalt": "boldvision",
    "savefig.dpi": 200,
    "figure.dpi": 200,
    "text.parse_math": False,  # names are text, whatever characters they have
}

INK = "#222222"
FAINT = "#8a8a8a"

_BLUE: dict[str, Any] = {"color": "#0072B2", "linestyle": "-", "marker": "o"}
_VERMILION: dict[str, Any] = {"color": "#D55E00", "linestyle": "--", "marker": "s"}
_GREEN: dict[str, Any] = {"color": "#009E73", "linestyle": "-", "marker": "^"}
_ORANGE: dict[str, Any] = {"color": "#E69F00", "linestyle": "--", "marker": "D"}
_DARK: dict[str, Any] = {"color": INK, "linestyle": "-", "marker": "o"}
_LIGHT: dict[str, Any] = {
    "color": FAINT,
    "linestyle": "--",
    "marker": "s",
    "markerfacecolor": "white",
}

CURVES: dict[str, dict[str, Any]] = {
    "General": _BLUE,
    "Specialized": _VERMILION,
    "Dynadiff": _BLUE,
    "Pretrained": _BLUE,
    "Not pretrained": _VERMILION,
    "as published": _GREEN,
    "leakage-free": _ORANGE,
    "size-matched": {"color": "#56B4E9", "linestyle": "-.", "marker": "v"},
    "as published, on images that do not leak": _LIGHT,
}
"""Curves by name, in the colour-blind-safe palette of Okabe and Ito.

Curves of a panel differ in line and marker: greyscale is enough.
"""

OTHERS: tuple[dict[str, Any], ...] = (
    _BLUE,
    _VERMILION,
    _GREEN,
    _ORANGE,
    {"color": "#56B4E9", "linestyle": "-", "marker": "v"},
    {"color": "#CC79A7", "linestyle": "--", "marker": "P"},
    _DARK,
    _LIGHT,
)
"""Looks of curves that `CURVES` does not name, in the order in which they are given."""


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, line and marker of every curve of a figure: that of `CURVES`, or one that is free.

    Raises
    ------
    UserError
        There are more curves than looks.
    """
    names = list(names)
    if len(names) > len(OTHERS):
        raise UserError(
            f"runs table: rows {', '.join(names)}: expected at most {len(OTHERS)} curves in a "
            f"figure, found {len(names)}; take some out"
        )
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        if name in CURVES and CURVES[name] not in found.values():
            found[name] = CURVES[name]
    free = [look for look in OTHERS if look not in found.values()]
    others = [name for name in names if name not in found]
    return found | dict(zip(others, free, strict=False))


@contextmanager
def styled() -> Iterator[None]:
    """Context manager and decorator that applies the look, whatever was set before."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def note_lines(text: str) -> list[str]:
    """Lines of a note."""
    return [line for given in text.splitlines() for line in textwrap.wrap(given, NOTE_WIDTH)]


def note(figure: Figure, text: str) -> None:
    """Say above a figure what to know about its data, in lines that fit its width."""
    title = figure.suptitle("\n".join(note_lines(text)), fontsize=8)
    if figure.get_layout_engine() is None:
        title.set_y(1 - 0.06 / figure.get_figheight())


def save(figure: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write a figure as vector PDF with embedded fonts and as PNG of 200 dpi.

    The files carry no time and no version, so the same figure gives the same bytes.
    """
    with styled():
        with atomic(pdf) as part:
            figure.savefig(part, metadata={"CreationDate": None, "Producer": None, "Creator": None})
        with atomic(png) as part:
            figure.savefig(part, metadata={"Software": None})
