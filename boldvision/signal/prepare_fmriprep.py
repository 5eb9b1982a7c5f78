"""The `prepare_fmriprep` stage: fMRIPrep's derivatives of one session -> its clean series."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from boldvision.cli import settings_from
from boldvision.config import Fmriprep, Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import TASK_RUNS, file_runs
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.signal.clean import RunQuality, clean
from boldvision.signal.session import write_session
from boldvision.signal.surface import AGAIN, VERTICES, read_hemispheres, read_volumes, require

START_TOLERANCE_S = 0.01


def session_runs(
    derivatives: Path, subject: Subject, session: int, space: str
) -> list[tuple[Path, ...]]:
    """Files of task runs 1..12: a volume file each, or a left and a right surface file.

    Parameters
    ----------
    derivatives
        Folder of fMRIPrep's output, with ``sub-01`` and so on in it.
    subject, session
        Whose runs.
    space
        Output space; volumes may have any resolution (``res-``).

    Raises
    ------
    UserError
        A run has no file or several.
    """
    file_runs(subject, session)  # the session exists
    folder = derivatives / keys.raw_session(subject.number, session).removeprefix(keys.RAWDATA)
    if space == "fsaverage5":
        endings = [f"_hemi-{side}_space-fsaverage5_bold.func.gii" for side in "LR"]
    else:
        endings = [f"_space-{space}*_desc-preproc_bold.nii.gz"]
    return [
        tuple(
            _only(folder / "func", keys.bids_run(subject.number, session, run) + ending)
            for ending in endings
        )
        for run in range(1, TASK_RUNS + 1)
    ]


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


def main(argv: list[str]) -> None:
    """Clean the BOLD series of one session on fsaverage5 (paper, Table 5)."""
    parser = argparse.ArgumentParser(prog="boldvision prepare_fmriprep", description=__doc__)
    parser.add_argument("--derivatives", type=Path, required=True, help="folder with sub-01 …")
    parser.add_argument("--session", type=int, required=True, help="1-based")
    parser.add_argument(
        "--settings", required=True, help="JSON with keys `subject` and `preprocessing`"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help=f".npy [{TASK_RUNS}, volumes, {VERTICES}]"
    )
    parser.add_argument("--quality", type=Path, required=True, help="JSON")
    arguments = parser.parse_args(argv)

    settings = settings_from(arguments.settings)
    preprocessing = Fmriprep(**settings["preprocessing"])
    runs = session_runs(
        arguments.derivatives,
        Subject(**settings["subject"]),
        arguments.session,
        preprocessing.space,
    )
    write_session(
        cleaned(runs, preprocessing),
        (len(runs), preprocessing.volumes, VERTICES),
        preprocessing.dtype,
        arguments.out,
        arguments.quality,
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
