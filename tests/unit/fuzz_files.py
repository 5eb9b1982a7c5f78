"""One small, valid file of each kind that is read, and how it is read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import scipy.io
import torch
from PIL import Image

from boldvision import cli, config
from boldvision.datasets.miniature.experiment import experiment_design
from boldvision.datasets.nsd.betas import read_betas
from boldvision.datasets.nsd.captions import read_stimulus_table
from boldvision.datasets.nsd.design import read_experiment_design, read_run_design
from boldvision.datasets.nsd.roi import read_roi
from boldvision.datasets.nsd.stimuli import copy_images
from boldvision.decoders.dynadiff_official.zero import read_checkpoint
from boldvision.decoders.record import read_model_record, read_record
from boldvision.files import sha256
from boldvision.hdf5 import write_text
from boldvision.images import ImageStack, write_images
from boldvision.metrics.decoded import decode_file
from boldvision.metrics.inputs import read_reconstructions
from boldvision.report import results
from boldvision.signal import derivatives
from boldvision.signal.region import Voxels
from boldvision.signal.surface import VERTICES, read_hemispheres, read_volumes
from boldvision.targets.base import TargetFile
from boldvision.trials import table
from boldvision.trials.splits import standard
from boldvision.trials.windows import Windows
from tests.unit import fuzz_networks as networks
from tests.unit.decoder_data import (
    load_model,
    mean_image_settings,
    trial_table,
    write_model,
    write_subject,
)
from tests.unit.official_data import write_checkpoint
from tests.unit.report_data import evaluation
from tests.unit.signal_files import AFFINE, GRID, random_volumes, read_run, some_voxels, write_run

DESIGN = config.Design(images=1650, images_per_subject=250, shared_images=50, image_px=2)
FMRIPREP = config.Fmriprep(kind="fmriprep")
BRAIN = np.array([[24.0, 0, 0, -100], [0, 24, 0, -130], [0, 0, 24, -80], [0, 0, 0, 1]])
Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    `sealed`: a checksum covers all that is read, so a result is the right one or there is none.
    """

    name: str
    write: Callable[[Path], object]
    read: Read
    sealed: bool


def write_roi(path: Path) -> None:
    labels = np.full(GRID, -1, np.int16)
    labels.flat[some_voxels().index] = 1
    nib.save(nib.Nifti1Image(labels, AFFINE), path)


def write_volumes(path: Path) -> None:
    random = np.random.default_rng(0)
    volumes = random.integers(500, 700, (9, 11, 9, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(volumes, BRAIN), path)


def write_hemisphere(path: Path) -> None:
    random = np.random.default_rng(0)
    series = random.integers(0, 9, (2, VERTICES // 2)).astype(np.float32)
    arrays = [nib.gifti.GiftiDataArray(volume) for volume in series]
    nib.save(nib.GiftiImage(darrays=arrays), path)


def write_betas(path: Path) -> None:
    stored = np.random.default_rng(0).integers(-500, 900, (750, *GRID[::-1])).astype(np.int16)
    if path.suffix == ".gz":
        nib.save(nib.Nifti1Image(stored.T, AFFINE), path)
        return
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=stored, chunks=(750, 1, 1, 1))


def write_experiment(path: Path) -> None:
    scipy.io.savemat(path, experiment_design(DESIGN, sessions=1, seed=0), do_compression=True)


def write_run_design(path: Path) -> None:
    rows = np.zeros(225, int)
    rows[9 : 9 + 3 * 62 : 3] = np.random.default_rng(0).integers(1, 73001, 62)
    path.write_text("".join(f"{row}\n" for row in rows))


def write_stimuli(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (DESIGN.images, 2, 2, 3), np.uint8)
    with h5py.File(path, "w") as file:
        file["imgBrick"] = pixels


def read_stimuli(path: Path) -> np.ndarray:
    out, ids = path.with_name("copied.h5"), np.array([1, 900, 1650])
    copy_images(path, ids, DESIGN, out, {})
    return ImageStack(out).read(ids)


def write_stack(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
    write_images(path, np.arange(3, 12), iter([pixels]), {})


def write_picture(path: Path) -> None:
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(path)


def read_picture(path: Path) -> np.ndarray:
    """A shared image, which must equal the one of the stimulus file."""
    out, pixels = path.with_name("compared.h5"), np.arange(48, dtype=np.uint8)
    write_images(out, np.array([5]), [pixels.reshape(1, 4, 4, 3)], {5: path})
    return ImageStack(out)[5]


def write_reconstructions(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
        file["trial"], file["image_id"] = np.arange(9), np.arange(9) % 3
        file.attrs["dropped"] = 2
        write_text(file, "label", "tiny generator")


def write_stored_latents(path: Path) -> None:
    write_reconstructions(path)
    with h5py.File(path, "a") as file:
        del file["images"]
        latents = np.random.default_rng(0).standard_normal((9, 4, 2, 2))
        file["latents"] = latents.astype(np.float16)


def stored_latents(path: Path) -> list:
    def grey(latents: np.ndarray) -> np.ndarray:
        return np.nan_to_num(latents[:, :3]).astype(np.uint8).transpose(0, 2, 3, 1)

    (path.parent / "decoded").mkdir(exist_ok=True)
    decode_file(path, path.parent / "decoded" / path.name, grey)
    return reconstructions(path.parent / "decoded" / path.name)


def reconstructions(path: Path) -> list:
    (window,) = read_reconstructions(path.parent)
    return [window.images(slice(None)), window.trial, window.image_id, window.label]


def read_latents(path: Path) -> list:
    target = TargetFile(path)
    return [target.image_id, target.values]


def write_latents(path: Path) -> None:
    folder = path.parent / "subject"
    folder.mkdir()
    write_subject(folder, "subj01").targets["vae"].rename(path)


def read_voxels(path: Path) -> list:
    voxels = Voxels.load(path)
    return [voxels.index, voxels.shape, voxels.affine]


def write_session(path: Path) -> None:
    np.save(path, np.random.default_rng(0).standard_normal((12, 225, 2)).astype(np.float32))


def read_session(path: Path) -> np.ndarray:
    window = config.Window(start_s=3.0, n_tr=6)
    prep = config.NsdPrep(kind="nsd_prep", detrend="cosine")
    return Windows({1: path}, trial_table(8), window, prep)[:]


def write_trials(path: Path) -> None:
    table.write_trials(trial_table(8), path)


def read_split(path: Path) -> np.ndarray:
    return table.read_split(path, trial_table(8)) == "test"


def write_split(path: Path) -> None:
    trials = trial_table(8)
    table.write_split(trials, standard.split(trials), path)


def of_model(file: str, read: Read) -> tuple[Callable[[Path], None], Read]:
    """Of the files of a model, the one that is damaged is `path`; `read` gets the folder."""

    def write(path: Path) -> None:
        folder = path.parent / "trained"
        picture = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
        write_model(folder, {"mean_image": picture}, {"trials": 9}, "mean_image")
        (folder / file).rename(path)
        (folder / file).symlink_to(path)

    return write, lambda path: read(path.parent / "trained")


def reconstructed(folder: Path) -> np.ndarray:
    decoder = load_model(folder, mean_image_settings(px=4))
    return decoder.reconstruct(np.zeros((1, 1, 1)), "subj01", [0])


STATES, RANK = "mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"


def of_checkpoint(file: str) -> tuple[Callable[[Path], None], Read]:
    """Of the two files of a checkpoint of DeepSpeed, the one that is damaged is `path`."""

    def write(path: Path) -> None:
        more = {"buffers": {"c": torch.arange(5.0)}, "frozen": {"d": torch.ones(3)}}
        folder = path.parent / "checkpoint"
        write_checkpoint(folder, {"a": torch.ones(4, 3), "b": torch.zeros(7)}, ranks=1, **more)
        (folder / file).rename(path)
        (folder / file).symlink_to(path)

    def read(path: Path) -> dict[str, np.ndarray]:
        folder = path.parent / "checkpoint"
        found = read_checkpoint(folder / STATES, [folder / RANK])
        return {name: np.array(value) for name, value in found.items()}

    return write, read


def scores(suffix: str) -> tuple[Callable[[Path], None], Read]:
    """Of the two files of an evaluation, the one that is damaged is `path`."""

    def write(path: Path) -> None:
        row = evaluation(path.parent, "made", metrics=["ssim"], n=9)
        other = {".json": "summary", ".parquet": "parquet"}[suffix]
        Path(row[other]).rename(path)
        (path.parent / "row").write_text(json.dumps(row | {other: str(path)}))

    def read(path: Path) -> list:
        (found,) = results.read([json.loads((path.parent / "row").read_text())])
        return [found.scores, found.metrics, found.images("ssim")]

    return write, read


def write_sidecar(path: Path) -> None:
    path.write_text(json.dumps({"RepetitionTime": 1.6, "StartTime": 0.775}))


def read_sidecar(path: Path) -> None:
    derivatives._check_timing(path.with_suffix(".nii.gz"), FMRIPREP)


def write_settings(path: Path) -> None:
    path.write_text(json.dumps({"subject": {"number": 1, "grid": [1, 2, 3]}, "seed": None}))


def pinned(path: Path) -> Any:
    """nsd_expdesign.mat with the sha256 that the configuration gives."""
    good = path.parent / f"good{path.suffix}"
    if not good.exists():
        write_experiment(good)
    design = DESIGN.model_copy(update={"expdesign_sha256": sha256(good)})
    return vars(read_experiment_design(path, design))


SCORES, SUMMARY = scores(".parquet"), scores(".json")
KINDS = [
    Kind("roi.nii.gz", write_roi, lambda path: vars(read_roi(path, 5, GRID)), True),
    Kind("run.nii.gz", lambda path: write_run(path, random_volumes()),
         read_run, True),
    Kind("run.nii", lambda path: write_run(path, random_volumes()),
         read_run, False),
    Kind("fmriprep.nii.gz", write_volumes, lambda path: read_volumes(path, 3), True),
    Kind("L.func.gii", write_hemisphere, lambda path: read_hemispheres(path, path, 2), False),
    Kind("betas.nii.gz", write_betas, lambda path: read_betas(path, some_voxels()), True),
    Kind("betas.hdf5", write_betas, lambda path: read_betas(path, some_voxels()), False),
    Kind("pinned.mat", write_experiment, pinned, True),
    Kind("expdesign.mat", write_experiment,
         lambda path: vars(read_experiment_design(path, DESIGN)), False),
    Kind("design.tsv", write_run_design, read_run_design, False),
    Kind("stimuli.hdf5", write_stimuli, read_stimuli, False),
    Kind("images.h5", write_stack, lambda path: ImageStack(path).read(range(3, 12)), False),
    Kind("shared.png", write_picture, read_picture, True),
    Kind("latents.h5", write_latents, read_latents, True),
    Kind("reconstructions.h5", write_reconstructions, reconstructions, False),
    Kind("stored_latents.h5", write_stored_latents, stored_latents, False),
    Kind("voxels.npz", lambda path: some_voxels().save(path), read_voxels, True),
    Kind("session01.npy", write_session, read_session, False),
    Kind("trials.parquet", write_trials, table.read_trials, False),
    Kind("split.parquet", write_split, read_split, False),
    Kind("model.safetensors", *of_model("train/model.safetensors", reconstructed), True),
    Kind("training.json",
         *of_model("train/training.json", lambda folder: read_record(folder / "train")), False),
    Kind("model.json", *of_model("model.json", read_model_record), False),
    Kind(STATES, *of_checkpoint(STATES), False),
    Kind(RANK, *of_checkpoint(RANK), False),
    Kind("convnext.pth", networks.write_convnext, networks.read_convnext, False),
    Kind("model-ema.th", networks.write_vdvae, networks.read_vdvae, False),
    Kind("autoencoder.bin", networks.write_autoencoder, networks.read_autoencoder, False),
    Kind("clip.safetensors", *networks.of_clip("model.safetensors"), False),
    Kind("clip.json", *networks.of_clip("config.json"), False),
    Kind("tokenizer.json", *networks.of_clip("tokenizer.json"), False),
    Kind("captions.parquet", networks.write_said, networks.read_said, True),
    Kind("stim_info.csv", networks.write_stimulus_table,
         lambda path: read_stimulus_table(path, 9), False),
    Kind("coco.zip", networks.write_annotations, networks.read_annotations, True),
    Kind("scores.parquet", *SCORES, False),
    Kind("scores.json", *SUMMARY, False),
    Kind("sidecar.json", write_sidecar, read_sidecar, False),
    Kind("settings.json", write_settings, lambda path: cli.settings_from(str(path)), False),
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Whether two results of a reader are equal."""
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return one == other


def alike(one: Any, other: Any) -> bool:
    """Whether two results have the same structure: what is in a file without a checksum."""
    if isinstance(one, pd.DataFrame):
        return isinstance(other, pd.DataFrame)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.ndim == other.ndim
    return type(one) is type(other)
