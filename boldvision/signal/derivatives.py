"""fMRIPrep's derivatives of a run -> its clean series on fsaverage5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from boldvision.config import Fmriprep
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.signal.clean import RunQuality, clean
from boldvision.signal.surface import AGAIN, read_hemispheres, read_volumes, require

START_TOLERANCE_S = 0.01


def run_files(folder: Path, stem: str, space: str) -> tuple[Path, ...]:
    """Files of a run: one of volumes, or a left and a right one of surfaces.

    Parameters
    ----------
    folder
        Folder ``func`` of the session's derivatives.
    stem
        How the names of the run's files begin.
    space
        Output space; volumes may have any resolution (``res-``).

    Raises
    ------
    UserError
        The run has no file or several.
    """
    if space == "fsaverage5":
        endings = [f"_hemi-{side}_space-fsaverage5_bold.func.gii" for side in "LR"]
    else:
        endings = [f"_space-{space}*_desc-preproc_bold.nii.gz"]
    return tuple(_only(folder, stem + ending) for ending in endings)


def read_run(files: tuple[Path, ...], preprocessing: Fmriprep) -> np.ndarray:
    """Raw series of one run on fsaverage5, float32 [volumes, 20484].

    Raises
    ------
    UserError
        A file or its sidecar is missing, damaged or not as configured.
    """
    for file in files:
        _check_timing(file, preprocessing)
    if len(files) == 1:
        return read_volumes(files[0], preprocessing.volumes)
    left, right = files
    return read_hemispheres(left, right, preprocessing.volumes)


def cleaned(
    runs: list[tuple[Path, ...]], preprocessing: Fmriprep
) -> Iterator[tuple[str, np.ndarray, RunQuality]]:
    """File name, clean series and quality of each run, as :func:`clean` returns them."""
    for files in runs:
        series = read_run(files, preprocessing)
        name = files[0].name
        yield (
            name,
            *clean(series, preprocessing.detrend, preprocessing.cutoff_s, preprocessing.tr_s),
        )


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{folder}: expected one file {pattern}, found {names}; run fMRIPrep, or correct "
            "`derivatives` and `space` in the configuration"
        )
    return found[0]


def _check_timing(file: Path, preprocessing: Fmriprep) -> None:
    """Raise UserError unless the sidecar says that samples lie where windows are cut."""
    sidecar = file.with_name(f"{file.name.split('.')[0]}.json")
    with reading(sidecar, "fMRIPrep's sidecar (JSON)", AGAIN):
        fields = json.loads(sidecar.read_text())
        found = {name: fields.get(name) for name in ("RepetitionTime", "StartTime")}
    for name, key, tolerance in (
        ("RepetitionTime", "tr_s", 1e-3),
        ("StartTime", "first_volume_s", START_TOLERANCE_S),
    ):
        expected, value = getattr(preprocessing, key), found[name]
        agrees = isinstance(value, int | float) and abs(value - expected) <= tolerance
        wanted = f"{expected:g} s (`{key}` in the configuration, in seconds as BIDS has it)"
        require(sidecar, agrees, name, wanted, value)
