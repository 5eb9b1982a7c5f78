"""The miniature as BIDS: raw data in NSD's naming, and derivatives in fMRIPrep's.

The raw volumes are empty of signal: nothing in the miniature runs fMRIPrep. The derivatives, which
everything after fMRIPrep reads, answer to the images as the volumes of the bucket do.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from boldvision.config import Fmriprep, Subject
from boldvision.datasets.miniature import behaviour, bold
from boldvision.datasets.miniature.experiment import run_designs
from boldvision.datasets.miniature.simulation import Simulation
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import STIMULUS_S, TASK_RUNS, TR_S
from boldvision.files import replace_folder
from boldvision.seeds import numpy_generator
from boldvision.signal.surface import sampling_weights

REAL = Fmriprep(
    kind="fmriprep", space="MNI152NLin2009cAsym", volumes=188, tr_s=1.6, first_volume_s=0.775
)
"""The configuration's defaults, stated: the rule of the miniature is told of none."""

VOLUME_S = REAL.first_volume_s + REAL.tr_s * np.arange(REAL.volumes)
"""Times to which fMRIPrep aligns the volumes of a run, s."""

GRID, VOXEL_MM = (19, 24, 18), 8.0
AFFINE = np.diag([VOXEL_MM] * 3 + [1.0])
AFFINE[:3, 3] = -72, -108, -52
"""A coarse MNI grid that holds all of fsaverage5."""

DERIVATIVE_FIELDS = {
    "RepetitionTime": REAL.tr_s,
    "SkullStripped": False,
    "SliceTimingCorrected": True,
    "StartTime": REAL.first_volume_s,
    "TaskName": keys.TASK,
}

SLICES = 4
NAME = "Miniature NSD, simulated"
EVENT_COLUMNS = {
    "ISOLD": "trial_type",
    "RT": "response_time",
    "TRIAL": "trial_number",
    "73KID": "73k_id",
}


def write_rawdata(simulation: Simulation, root: Path) -> None:
    """Raw data of all subjects and sessions: a valid BIDS dataset of tiny volumes."""
    subjects = simulation.settings.subjects
    _write(root, f"{keys.RAWDATA}README", f"{NAME}. No participant was scanned.\n")
    _write_json(
        root,
        f"{keys.RAWDATA}dataset_description.json",
        {"Name": NAME, "BIDSVersion": "1.8.0", "DatasetType": "raw", "Authors": ["nobody"]},
    )
    names = [f"sub-{subject.number:02d}" for subject in subjects.values()]
    _write(root, f"{keys.RAWDATA}participants.tsv", "\n".join(["participant_id", *names]) + "\n")
    for task in (keys.TASK, "rest"):
        _write_json(root, f"{keys.RAWDATA}task-{task}_bold.json", {"TaskName": task})
    _write_json(root, f"{keys.RAWDATA}task-{keys.TASK}_events.json", _event_fields())
    for subject in subjects.values():
        anatomy = f"{keys.raw_subject(subject.number)}ses-nsdanat/anat/"
        anatomy += f"sub-{subject.number:02d}_ses-nsdanat_T1w"
        _write_json(root, f"{anatomy}.json", {"MagneticFieldStrength": 3})
        _write(root, f"{anatomy}.nii.gz", _tiny_volume())
        trials = behaviour.responses(simulation.fields, subject, simulation.miniature.seed)
        for session in range(1, subject.sessions + 1):
            rest = _rest_runs(subject, session)
            _write_fieldmap(root, subject.number, session, rest)
            for stem in rest:
                _write_bold(root, stem)
            of_session = trials[trials["SESSION"] == session]
            design = run_designs(simulation.fields, subject.number)[session - 1]
            for run in range(1, TASK_RUNS + 1):
                events = _events(of_session[of_session["RUN"] == run], design[run - 1])
                _write_run(root, subject.number, session, run, events)


def write_derivatives(simulation: Simulation, out: Path) -> None:
    """What fMRIPrep would make of such data: volumes in MNI space, int16 [19, 24, 18, 188]."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    made_by = {"Name": "boldvision miniature", "Description": "simulated, not run by fMRIPrep"}
    description = {"Name": NAME, "BIDSVersion": "1.4.0", "DatasetType": "derivative"}
    _write_json(part, "dataset_description.json", {**description, "GeneratedBy": [made_by]})
    cortex = cortex_from_the_back()
    for name, subject in simulation.settings.subjects.items():
        for session in range(1, subject.sessions + 1):
            for run in range(1, TASK_RUNS + 1):
                volumes = np.zeros((REAL.volumes, int(np.prod(GRID))), np.int16)
                volumes[:, cortex] = round(bold.BASELINE)
                series = native_series(simulation, name, session, run)
                volumes[:, cortex[: subject.voxels]] = np.rint(series)
                stem = derivative(subject.number, session, run)
                _write(part, f"{stem}.nii.gz", _nifti(volumes.T.reshape(*GRID, -1, order="F")))
                _write_json(part, f"{stem}.json", DERIVATIVE_FIELDS)
    replace_folder(part, out)


def derivative(number: int, session: int, run: int) -> str:
    """Name of a run's volumes below the folder of derivatives, without suffix."""
    folder = keys.raw_session(number, session).removeprefix(keys.RAWDATA)
    stem = keys.bids_run(number, session, run)
    return f"{folder}func/{stem}_space-{REAL.space}_desc-preproc_bold"


def cortex_from_the_back(
    grid: tuple[int, int, int] = GRID, affine: np.ndarray = AFFINE
) -> np.ndarray:
    """Voxels that fsaverage5 samples, X fastest; from the occipital pole to the front.

    The first are a subject's nsdgeneral, in the order of its known answer.
    """
    voxels, _ = sampling_weights(grid, tuple(affine.ravel().tolist()))
    _, y, _ = np.unravel_index(voxels, grid, order="F")
    return voxels[np.argsort(y, kind="stable")]


def native_series(simulation: Simulation, name: str, session: int, task_run: int) -> np.ndarray:
    """Raw series of nsdgeneral at the scanner's own TR, int16 units as float, [188, voxels].

    Same features, weights and responses as in the bucket, with noise of its own.
    """
    voxels = simulation.voxelwise[name]
    number = simulation.settings.subjects[name].number
    design = run_designs(simulation.fields, number)[session - 1, task_run - 1]
    rows = np.flatnonzero(design)
    amplitude = simulation.features[design[rows] - 1] @ voxels.weights
    random = numpy_generator(
        simulation.miniature.seed, "fmriprep noise", name, session, str(task_run)
    )
    noise = bold.run_noise(random, len(voxels.hrf), simulation.miniature)[: REAL.volumes]
    response = native_response(rows, bold.RESPONSE_STD * amplitude, voxels.hrf)
    return bold.BASELINE + noise + response


def native_response(onset_rows: np.ndarray, amplitude: np.ndarray, hrf: np.ndarray) -> np.ndarray:
    """As `bold.run_response`, at the times of fMRIPrep's volumes, [188, voxels]."""
    step_s = 0.01
    since_onset = VOLUME_S[:, None] - TR_S * onset_rows
    series = np.empty((REAL.volumes, len(hrf)))
    for member in np.unique(hrf):
        kernel = bold.stimulus_response(bold.HRF_LIBRARY[member], step_s)
        t = step_s * np.arange(len(kernel))
        response = np.interp(since_onset, t, kernel, left=0, right=0)
        series[:, hrf == member] = response @ amplitude[:, hrf == member]
    return series


def _events(trials: pd.DataFrame, design: np.ndarray) -> pd.DataFrame:
    events = trials[list(EVENT_COLUMNS)].rename(columns=EVENT_COLUMNS)
    events.insert(0, "onset", np.round(TR_S * np.flatnonzero(design), 3))
    events.insert(1, "duration", STIMULUS_S)
    events["response_time"] = np.round(events["response_time"].astype(float) / 1000, 4)
    return events


def _write_run(root: Path, number: int, session: int, run: int, events: pd.DataFrame) -> None:
    _write_bold(root, keys.raw_run(number, session, run, "bold"))
    table = events.to_csv(sep="\t", index=False, na_rep="n/a")
    _write(root, keys.raw_run(number, session, run, "events.tsv"), table)


def _write_bold(root: Path, stem: str) -> None:
    _write(root, f"{stem}.nii.gz", _tiny_volume(REAL.volumes))
    _write_json(root, f"{stem}.json", _bold_fields())


def _rest_runs(subject: Subject, session: int) -> list[str]:
    """Rest runs of a session without suffix; NSD numbers them with one digit."""
    folder = f"{keys.raw_session(subject.number, session)}func/"
    stem = f"{folder}sub-{subject.number:02d}_ses-nsd{session:02d}_task-rest_run-"
    return [f"{stem}{run}_bold" for run in (1, 2) if session in subject.rest_sessions]


def _write_fieldmap(root: Path, number: int, session: int, rest: list[str]) -> None:
    """One difference of phases and its two magnitudes; NSD has about four per session."""
    folder = keys.raw_session(number, session)
    runs = [keys.raw_run(number, session, run, "bold") for run in range(1, TASK_RUNS + 1)]
    below = len(keys.raw_subject(number))
    fields = {
        "EchoTime1": 0.00408,
        "EchoTime2": 0.0051,
        "IntendedFor": [f"{stem[below:]}.nii.gz" for stem in runs + rest],
    }
    stem = f"{folder}fmap/sub-{number:02d}_ses-nsd{session:02d}_run-01_"
    for kind in ("phasediff", "magnitude1", "magnitude2"):
        _write(root, f"{stem}{kind}.nii.gz", _tiny_volume())
    _write_json(root, f"{stem}phasediff.json", fields)


def _bold_fields() -> dict:
    """Two shots of slices, whose middle is the time that fMRIPrep aligns them to."""
    return {
        "RepetitionTime": REAL.tr_s,
        "SliceTiming": [0.0, 2 * REAL.first_volume_s] * (SLICES // 2),
        "PhaseEncodingDirection": "j-",
        "EffectiveEchoSpacing": 0.00033,
        "TotalReadoutTime": 0.0393,
    }


def _event_fields() -> dict:
    return {
        "trial_type": {"Description": "what was shown", "Levels": {"0": "new", "1": "old"}},
        "response_time": {"Description": "after image onset", "Units": "s"},
        "trial_number": {"Description": "1-based, within the run"},
        "73k_id": {"Description": "1-based id of the image"},
    }


def _tiny_volume(volumes: int | None = None) -> bytes:
    shape = (SLICES, SLICES, SLICES) + ((volumes,) if volumes else ())
    return _nifti(np.full(shape, round(bold.BASELINE), np.int16))


def _nifti(data: np.ndarray) -> bytes:
    """NIfTI-1, gzip without a time stamp: the same bytes every time."""
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_zooms([VOXEL_MM] * 3 + [REAL.tr_s] * (data.ndim - 3))
    image.header.set_xyzt_units("mm", "sec")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def _write_json(root: Path, name: str, fields: dict) -> None:
    _write(root, name, json.dumps(fields, indent=2) + "\n")


def _write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
