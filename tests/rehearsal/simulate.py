"""Write what the rehearsal reads: sessions of NSD at their true size, and a generator at its own.

The miniature's simulation, with what makes real files large: voxels outside of the region that vary
too, and the grid of a brain of fMRIPrep's. Weights of the generator are random.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from isal import igzip
from snakemake.utils import update_config

from boldvision import config
from boldvision.config.load import load_config
from boldvision.datasets.miniature import bids, bucket
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.runs import TR_S, task_file_runs
from boldvision.files import replace_folder
from boldvision.seeds import numpy_generator

ROOT = Path(__file__).parents[2]
CONFIGS = [ROOT / "config/nsd.yaml", ROOT / "tests/rehearsal/rehearsal.yaml"]

MINIATURE = config.Miniature(seed=0, noise=1.5)

BRIGHTNESS = (200, 1400)
"""Raw units of a voxel's mean: packed, volumes are a third as long, as real ones."""

NOISE_STD, BETAS_STD = 9.0, 300.0
"""Of a voxel outside of the region, raw units and units of the betas."""

MM = 1.8
MNI_GRID, MNI_CORNER = (107, 127, 107), (-96.0, -132.0, -78.0)
"""fMRIPrep's volumes of NSD: template MNI152NLin2009cAsym in steps of the raw data, 1.8 mm."""


@dataclass(frozen=True)
class Brain:
    """Where a simulated brain lies in its volumes; positions are in NIfTI's order, X fastest."""

    grid: tuple[int, int, int]
    affine: np.ndarray
    inside: np.ndarray
    region: np.ndarray

    @classmethod
    def native(cls, anatomy: bucket.Anatomy) -> Brain:
        """Of the bucket's volumes; the region in C order, as its series."""
        inside, region = (
            np.ravel_multi_index(np.nonzero(mask), anatomy.grid, order="F")
            for mask in (anatomy.brain, anatomy.roi)
        )
        return cls(anatomy.grid, anatomy.affine, inside, region)

    @classmethod
    def mni(cls, subject: config.Subject, grid: tuple[int, int, int], mm: float) -> Brain:
        """Of fMRIPrep's volumes: an ellipsoid that fills them; the region from the back."""
        affine = np.diag([mm, mm, mm, 1.0])
        affine[:3, 3] = MNI_CORNER
        whole = bucket.Anatomy(subject.model_copy(update={"grid": grid}))
        region = bids.cortex_from_the_back(grid, affine)[: subject.voxels]
        return cls(grid, affine, cls.native(whole).inside, region)


def write_volumes(
    path: Path, brain: Brain, series: np.ndarray, mean: np.ndarray, std: float, tr_s: float
) -> None:
    """Write int16 volumes one at a time: `series` [volumes, region], and around it noise.

    Parameters
    ----------
    path
        ``.nii.gz``.
    brain
        Where the voxels lie.
    series
        Of the region.
    mean
        Of the other voxels, [inside].
    std
        Of their noise.
    tr_s
        Sampling period, s.
    """
    random = numpy_generator(MINIATURE.seed, "around", path.name)
    pool = np.rint(std * random.standard_normal(2 * len(mean), np.float32)).astype(np.int16)
    starts = random.integers(len(mean), size=len(series))
    header = nib.Nifti1Header(endianness="<")
    header.set_data_shape((*brain.grid, len(series)))
    header.set_data_dtype(np.int16)
    header.set_sform(brain.affine, 1)
    header.set_zooms((*nib.affines.voxel_sizes(brain.affine), tr_s))
    header.set_xyzt_units("mm", "sec")
    header["magic"], header["vox_offset"] = b"n+1", 352
    volume = np.zeros(int(np.prod(brain.grid)), np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with igzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for start, values in zip(starts.tolist(), series, strict=True):
            volume[brain.inside] = mean + pool[start : start + len(mean)]
            volume[brain.region] = np.rint(values)
            file.write(volume.tobytes())


def write_copy(simulation: Simulation, out: Path) -> None:
    """A copy of the bucket, with what the rules read of it."""
    part = _empty_part(out)
    bucket.write_experiment(simulation, part)
    bucket.write_stimuli(simulation, part)
    for name, subject in simulation.settings.subjects.items():
        anatomy = bucket.Anatomy(subject)
        bucket.write_subject(simulation, name, anatomy, part)
        brain = Brain.native(anatomy)
        mean = _brightness(name, brain)
        for session in range(1, subject.sessions + 1):
            for run, file_run in enumerate(task_file_runs(subject, session), start=1):
                path = part / keys.timeseries(name, session, file_run)
                series = simulation.series(name, session, run)
                write_volumes(path, brain, series, mean, NOISE_STD, TR_S)
            betas = bucket.betas(simulation, name, session)
            path = part / keys.betas(name, session)
            write_volumes(path, brain, betas, np.zeros_like(mean), BETAS_STD, 1.0)
    replace_folder(part, out)


def write_derivatives(
    simulation: Simulation, out: Path, grid: tuple[int, int, int] = MNI_GRID, mm: float = MM
) -> None:
    """What fMRIPrep would make of such data, in MNI space, at the resolution of the raw data."""
    part = _empty_part(out)
    for name, subject in simulation.settings.subjects.items():
        brain = Brain.mni(subject, grid, mm)
        mean = _brightness(name, brain)
        for session in range(1, subject.sessions + 1):
            for run in range(1, 13):
                stem = part / bids.derivative(subject.number, session, run)
                series = bids.native_series(simulation, name, session, run)
                path = stem.with_name(f"{stem.name}.nii.gz")
                write_volumes(path, brain, series, mean, NOISE_STD, bids.REAL.tr_s)
                fields = json.dumps(bids.DERIVATIVE_FIELDS)
                stem.with_name(f"{stem.name}.json").write_text(fields)
    replace_folder(part, out)


def write_generator(out: Path) -> None:
    """Versatile Diffusion's image U-Net and VAE with random weights, 3.8 GB in float32."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from boldvision.generators.base import full_size_unet_config, full_size_vae_config
    from boldvision.generators.pretrain import new_scheduler

    part = _empty_part(out)
    torch.manual_seed(MINIATURE.seed)
    UNet2DConditionModel(**full_size_unet_config()).save_pretrained(part / "image_unet")
    AutoencoderKL(**full_size_vae_config()).save_pretrained(part / "vae")
    new_scheduler().save_pretrained(part / "scheduler")
    replace_folder(part, out)


def rehearsed(files: Iterable[Path] = CONFIGS) -> config.Config:
    """The configuration of the rehearsal: files laid over the default."""
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    for file in files:
        update_config(values, yaml.safe_load(file.read_text()))
    return load_config(values)


def simulation_of(settings: config.Config) -> Simulation:
    """What is simulated: the subjects of the configuration's own scope."""
    subjects = {n: settings.subjects[n] for n in settings.scopes[settings.scope].subjects}
    of_design = Settings(miniature=MINIATURE, subjects=subjects, design=settings.design)
    return Simulation(of_design, seen_only=True)


def _empty_part(out: Path) -> Path:
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def _brightness(name: str, brain: Brain) -> np.ndarray:
    random = numpy_generator(MINIATURE.seed, "brightness", name, *brain.grid)
    return random.integers(*BRIGHTNESS, len(brain.inside), dtype=np.int16)


def main() -> None:
    """Write what is not there yet."""
    settings = rehearsed()
    assert settings.raw is not None
    copy, derivatives = Path(settings.raw), Path(settings.preprocessing["fmriprep"].derivatives)
    generator = Path(settings.generators["versatile_diffusion"].folder)
    if not (copy.exists() and derivatives.exists()):
        simulation = simulation_of(settings)
        write_copy(simulation, copy)
        write_derivatives(simulation, derivatives)
    if not generator.exists():
        write_generator(generator)


if __name__ == "__main__":
    sys.exit(main())
