"""Write the miniature NSD: a bucket with NSD's own keys and formats, and its known answer."""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from PIL import Image
from scipy.io import savemat

from boldvision import config
from boldvision.cli import settings_from
from boldvision.datasets.miniature import behaviour, bids, bold
from boldvision.datasets.miniature.coco import write_archive
from boldvision.datasets.miniature.experiment import run_designs
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import FILE_VOLUMES, TR_S, file_runs, task_file_runs
from boldvision.files import replace_folder
from boldvision.seeds import numpy_generator

VOXEL_MM = 1.8


class Anatomy:
    """A subject's grid: an ellipsoid of brain, and nsdgeneral at its back.

    Parameters
    ----------
    subject : config.Subject
        Grid and number of nsdgeneral voxels.
    """

    def __init__(self, subject: config.Subject):
        self.grid = subject.grid
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in subject.grid), indexing="ij")
        self.brain = x**2 + y**2 + z**2 < 1
        distance = np.where(self.brain, x**2 + (y + 0.6) ** 2 + (z + 0.1) ** 2, np.inf)
        nearest = np.argsort(distance.ravel(), kind="stable")[: subject.voxels]
        self.roi = np.zeros(subject.grid, bool)
        self.roi.ravel()[nearest] = True
        self.affine = np.diag([VOXEL_MM] * 3 + [1.0])
        self.affine[:3, 3] = -(np.array(subject.grid) - 1) / 2 * VOXEL_MM

    def labels(self) -> np.ndarray:
        """Labels of nsdgeneral: -1 outside cortex, 0 cortex, 1 in the region."""
        return np.where(self.roi, 1.0, np.where(self.brain, 0.0, -1.0))


def write_bucket(simulation: Simulation, out: Path) -> None:
    """Write the bucket of all subjects to folder `out`, which appears when it is complete."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_experiment(simulation, part)
    write_archive(simulation, part)
    write_stimuli(simulation, part)
    bids.write_rawdata(simulation, part)
    for name, subject in simulation.settings.subjects.items():
        anatomy = Anatomy(subject)
        write_subject(simulation, name, anatomy, part)
        for session in range(1, subject.sessions + 1):
            write_session(simulation, name, session, anatomy, part)
    replace_folder(part, out)


def write_experiment(simulation: Simulation, root: Path) -> None:
    """Design file and table of stimuli."""
    path = _path(root, keys.expdesign())
    savemat(path, simulation.fields, appendmat=False)
    _blank_mat_date(path)
    table = behaviour.stimulus_table(simulation.fields, simulation.settings.design.images)
    table.to_csv(_path(root, keys.stim_info()))


def write_stimuli(simulation: Simulation, root: Path) -> None:
    """Stimuli, and the shared ones as PNGs too.

    A file of all images, in which those that were not drawn are a hole that takes no disk.
    """
    design, rows = simulation.settings.design, simulation.image_id - 1
    shape = (design.images, design.image_px, design.image_px, 3)
    with h5py.File(_path(root, keys.stimuli()), "w", track_order=False) as file:
        stored = file.create_dataset("imgBrick", shape, np.uint8, track_times=False)
        for row, image in zip(rows.tolist(), simulation.images, strict=True):
            stored[row] = image
    shared = simulation.fields["sharedix"].ravel()
    for number, row in enumerate(np.searchsorted(rows, shared - 1).tolist(), start=1):
        image = Image.fromarray(simulation.images[row])
        image.save(_path(root, keys.shared_image(number, shared[number - 1])))


def write_subject(simulation: Simulation, name: str, anatomy: Anatomy, root: Path) -> None:
    """Masks, behaviour and design columns of a subject."""
    subject = simulation.settings.subjects[name]
    _write_volume(anatomy.labels(), anatomy, _path(root, keys.roi(name)))
    _write_volume(anatomy.brain.astype(np.int16), anatomy, _path(root, keys.brainmask(name)))
    table = behaviour.responses(simulation.fields, subject, simulation.miniature.seed)
    table.to_csv(_path(root, keys.responses(name)), sep="\t", index=False, na_rep="NaN")
    designs = run_designs(simulation.fields, subject.number)
    for session in range(1, subject.sessions + 1):
        task = dict(zip(task_file_runs(subject, session), range(12), strict=True))
        for file_run in file_runs(subject, session):
            rest = file_run not in task
            column = np.zeros(225, int) if rest else designs[session - 1, task[file_run]]
            np.savetxt(_path(root, keys.design(name, session, file_run)), column, fmt="%d")


def write_session(
    simulation: Simulation, name: str, session: int, anatomy: Anatomy, root: Path
) -> None:
    """Time series of all runs of a session, and its betas."""
    subject = simulation.settings.subjects[name]
    task = dict(zip(task_file_runs(subject, session), range(1, 13), strict=True))
    for file_run in file_runs(subject, session):
        series = simulation.series(name, session, task.get(file_run))
        volumes = np.zeros((*anatomy.grid, FILE_VOLUMES), np.int16)
        volumes[anatomy.brain] = round(bold.BASELINE)
        volumes[anatomy.roi] = np.rint(series.T)
        path = _path(root, keys.timeseries(name, session, file_run))
        _write_volume(volumes, anatomy, path, tr_s=TR_S)
    write_betas(simulation, name, session, anatomy, root)


def write_betas(
    simulation: Simulation, name: str, session: int, anatomy: Anatomy, root: Path
) -> None:
    """Single-trial amplitudes in both axis orders."""
    responses = betas(simulation, name, session)
    volumes = np.zeros((*anatomy.grid, len(responses)), np.int16)
    volumes[anatomy.roi] = responses.T
    _write_volume(volumes, anatomy, _path(root, keys.betas(name, session, extension="nii.gz")))
    with h5py.File(_path(root, keys.betas(name, session, extension="hdf5")), "w") as file:
        chunks = (len(responses), 1, 1, 1)
        file.create_dataset("betas", data=volumes.T, chunks=chunks, track_times=False)


def betas(simulation: Simulation, name: str, session: int) -> np.ndarray:
    """Single-trial amplitudes of nsdgeneral, percent signal change x 300, int16 [750, voxels]."""
    voxels = simulation.voxelwise[name]
    number = simulation.settings.subjects[name].number
    design = run_designs(simulation.fields, number)[session - 1]
    amplitude = simulation.features[design[design > 0] - 1] @ voxels.weights
    random = numpy_generator(simulation.miniature.seed, "betas", name, session)
    noise = simulation.miniature.noise * random.standard_normal(amplitude.shape)
    percent = 100 * bold.RESPONSE_STD / bold.BASELINE * (amplitude + noise / 2)
    return np.rint(300 * percent).astype(np.int16)


def write_truth(simulation: Simulation, out: Path) -> None:
    """The known answer: per voxel weights, response and group; per subject the response's peak."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    summary = {}
    for name, voxels in simulation.voxelwise.items():
        np.savez(part / f"{name}.npz", weights=voxels.weights, hrf=voxels.hrf, group=voxels.group)
        mean = bold.HRF_LIBRARY[voxels.hrf].mean(0)
        ceiling = bold.single_trial_ceiling(simulation.miniature)
        summary[name] = {"peak_s": bold.peak_s(mean), "noise_ceiling": ceiling}
    (part / "truth.json").write_text(json.dumps(summary, indent=2))
    replace_folder(part, out)


def _path(root: Path, key: str) -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_volume(
    data: np.ndarray, anatomy: Anatomy, path: Path, tr_s: float | None = None
) -> None:
    """NIfTI-1, gzip without a time stamp: the same bytes every time."""
    image = nib.Nifti1Image(data, anatomy.affine)
    image.set_sform(anatomy.affine, code=1)
    image.set_qform(None, code=0)
    zooms = [VOXEL_MM] * 3 + [tr_s or 1.0] * (data.ndim - 3)
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", "sec")
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def _blank_mat_date(path: Path) -> None:
    """A MAT file begins with 116 bytes of text that hold the time of writing."""
    with path.open("r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))


def main(argv: list[str]) -> None:
    """Stage `miniature`."""
    parser = argparse.ArgumentParser(prog="boldvision miniature", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON: `miniature`, `subjects`, `design`")
    parser.add_argument("--bucket", type=Path, required=True, help="folder to write")
    parser.add_argument("--truth", type=Path, required=True, help="folder of the known answer")
    parser.add_argument("--derivatives", type=Path, help="folder of simulated fMRIPrep derivatives")
    arguments = parser.parse_args(argv)
    simulation = Simulation(Settings(**settings_from(arguments.settings)))
    write_truth(simulation, arguments.truth)
    write_bucket(simulation, arguments.bucket)
    if arguments.derivatives:
        bids.write_derivatives(simulation, arguments.derivatives)
