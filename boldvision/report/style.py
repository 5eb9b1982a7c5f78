"""One look for every figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from boldvision.files import atomic

WIDTH_IN = 7.0
"""Width of a figure, inches: two columns of a page."""

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
}

INK = "#222222"
FAINT = "#8a8a8a"

CURVES: dict[str, dict[str, Any]] = {
    "General": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "Specialized": {"color": "#D55E00", "linestyle": "--", "marker": "s"},
}
"""Okabe and Ito's colour-blind-safe blue and vermilion; dash and marker tell them in greyscale."""


def styled():
    """Context manager and decorator that applies the look."""
    return matplotlib.rc_context(RC)


def save(figure: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write a figure as vector PDF with embedded fonts and as PNG of 200 dpi.

    The files carry no time and no version, so the same figure gives the same bytes.
    """
    with styled():
        with atomic(pdf) as part:
            figure.savefig(part, metadata={"CreationDate": None, "Producer": None, "Creator": None})
        with atomic(png) as part:
            figure.savefig(part, metadata={"Software": None})
