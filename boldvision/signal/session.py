"""Where the clean series of one session and the report on their quality are written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.signal.clean import RunQuality


def write_session(
    runs: Iterable[tuple[str, np.ndarray, RunQuality]],
    shape: tuple[int, int, int],
    dtype: str,
    out: Path,
    quality: Path,
) -> None:
    """Write the task runs of a session as they come, one in memory at a time.

    Parameters
    ----------
    runs
        Name of its file, clean series [volumes, voxels] and quality of each run.
    shape
        [runs, volumes, voxels].
    dtype
        Type on disk.
    out
        ``.npy`` of that shape.
    quality
        JSON: `RunQuality` of each run, with its `task_run` and `file`.

    Raises
    ------
    UserError
        A value is not finite in the type on disk; nothing is written.
    """
    report: list[dict] = []
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    with atomic(quality) as quality_part, atomic(out) as part:
        # Written in order rather than through a memory map, where a full disk is a bus error.
        with part.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for name, series, run_quality in runs:
                finite(name, series, dtype).tofile(file)
                report.append({"task_run": len(report) + 1, "file": name, **asdict(run_quality)})
        quality_part.write_text(json.dumps({"runs": report}, indent=1) + "\n")


def finite(name: str, series: np.ndarray, dtype: str) -> np.ndarray:
    """A clean series in the type on disk.

    Raises
    ------
    UserError
        A value is not finite in it.
    """
    with np.errstate(over="ignore"):
        stored = series.astype(dtype, copy=False)
    if wrong := int(np.sum(~np.isfinite(stored))):
        raise UserError(
            f"{name}: expected a clean series of finite {dtype} values, found {wrong} others; "
            "replace the file, or set `dtype: float32` of the preprocessing"
        )
    return stored
