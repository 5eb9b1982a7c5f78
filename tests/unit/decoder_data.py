"""A random generator and a random subject, as small as they can be, on disk."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from boldvision import cli, config, plugins
from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import SubjectData, Trained
from boldvision.decoders.record import PARAMETERS, read_record, write_model_record
from boldvision.generators import pretrain
from boldvision.hdf5 import write_text
from boldvision.targets.base import digest
from boldvision.training.environment import PROCESSES
from boldvision.trials import table
from boldvision.trials.splits import standard

REPOSITORY = Path(__file__).parents[2]
PX, TOKENS, WIDTH = 16, 4, 8
N_TR = 3
# As in the processes that `start` starts: sums in another order are other sums.
torch.set_num_threads(1)

WINDOW = {"start_s": 3.0, "n_tr": N_TR}
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
"""Arguments of Python that start the rest of the command line in two processes."""

NSD_PREP = config.NsdPrep(kind="nsd_prep", detrend="cosine")


def write_generator(folder: Path) -> config.Generator:
    """A generator of random weights, 16-pixel images and latents [4, 2, 2]."""
    torch.manual_seed(0)
    pretrain.new_vae(PX).save_pretrained(folder / "vae")
    pretrain.new_unet(PX // 8, WIDTH).save_pretrained(folder / "image_unet")
    pretrain.new_scheduler().save_pretrained(folder / "scheduler")
    return config.Generator(
        kind="tiny", folder=str(folder), image_px=PX, tokens=TOKENS, width=WIDTH, label="random"
    )


def trial_table(
    n_images: int, n_test: int = 2, first_image: int = 1, sessions: int = 1
) -> pd.DataFrame:
    """Three repetitions of every image; the last `n_test` images are the test."""
    image_id = np.random.default_rng(0).permutation(
        np.repeat(np.arange(first_image, first_image + n_images), 3)
    )
    trial = np.arange(len(image_id))
    return pd.DataFrame(
        {
            "trial": trial,
            "session": 1 + trial * sessions // len(trial),
            "task_run": 1 + trial // 60,
            "onset_s": 12.0 + 4 * (trial % 60),
            "image_id": image_id,
            "shared": image_id >= first_image + n_images - n_test,
        }
    )


def write_trials(trials: pd.DataFrame, data: SubjectData) -> None:
    """A trial table and its standard split."""
    table.write_trials(trials, data.trials)
    table.write_split(trials, standard.split(trials), data.split)


def write_subject(
    folder: Path,
    name: str,
    n_images: int = 8,
    n_voxels: int = 5,
    first_image: int = 1,
    sessions: int = 1,
) -> SubjectData:
    """Trial table, sessions of noise, latents and images of a subject."""
    random = np.random.default_rng(len(name) + n_voxels)
    data = SubjectData(
        name,
        trials=folder / f"{name}.parquet",
        split=folder / f"{name}.split.parquet",
        preprocessing=NSD_PREP,
        images=folder / f"{name}.images.h5",
        bold=folder / name,
        targets={"vae": folder / f"{name}.latents.h5"},
    )
    write_trials(trial_table(n_images, first_image=first_image, sessions=sessions), data)
    data.bold.mkdir()
    for session in range(1, sessions + 1):
        series = random.standard_normal((12, 225, n_voxels)).astype(np.float32)
        np.save(data.bold / f"session{session:02d}.npy", series)
    ids = np.arange(first_image, first_image + n_images)
    with h5py.File(data.images, "w") as file:
        file["image_id"] = ids
        file["images"] = random.integers(0, 256, (n_images, 20, 20, 3), np.uint8)
    latents = {
        "mean": random.standard_normal((n_images, 4, PX // 8, PX // 8)).astype(np.float16),
        "logvar": np.full((n_images, 4, PX // 8, PX // 8), -4, np.float16),
    }
    with h5py.File(data.targets["vae"], "w") as file:
        file["image_id"] = ids
        for part, values in latents.items():
            file[part] = values
        write_text(file, "sha256", digest(ids, latents))
    return data


def training_settings(**changes) -> dict:
    """A few steps of a batch of 4."""
    return {
        "steps": 30,
        "batch_size": 4,
        "device_batch_size": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 3,
        "checkpoint_every_s": 0,
        "condition_dropout": 0.3,
        **changes,
    }


def run_settings(dropout: float = 0.5, changes: dict | None = None, **training) -> dict:
    """Settings of a Dynadiff run, and what is changed in them."""
    settings = {
        "decoder": "dynadiff",
        "split": "standard",
        "preprocessing": "nsd_prep",
        "generator": "tiny",
        "latents": "vae",
        "brain_module": {"hidden": 6, "dropout": dropout},
        "lora": {"rank": 2},
        "training": training_settings(**training),
        "reconstruction": {"steps": 3, "batch_size": 2},
    }
    return settings | (changes or {})


def mean_image_settings(px: int = PX) -> dict:
    """Settings of a run of the mean image."""
    return {
        "decoder": "mean_image",
        "split": "standard",
        "preprocessing": "nsd_prep",
        "image_px": px,
    }


def data_arguments(
    generator: config.Generator | None, data: list[SubjectData], run: dict, seed: int, **more
) -> list[str]:
    """Arguments that the stages of training and `reconstruct` share; `more` are settings."""
    settings = {
        "run": run,
        "preprocessing": data[0].preprocessing.model_dump(),
        "generators": {"tiny": generator.model_dump()} if generator else {},
    } | more
    places = {
        subject.name: {
            "trials": str(subject.trials),
            "split": str(subject.split),
            "images": str(subject.images),
            "bold": str(subject.bold),
            "targets": {name: str(path) for name, path in subject.targets.items()},
        }
        for subject in data
    }
    return [
        "--settings", json.dumps(settings), "--data", json.dumps(places), "--seed", str(seed),
    ]  # fmt: skip


def train(generator: config.Generator, data: list[SubjectData], model: Path, **settings) -> None:
    """Train in this process, as in one that just began."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    assert cli.main(train_arguments(generator, data, model, **settings)) == 0


def train_arguments(
    generator: config.Generator,
    data: list[SubjectData],
    model: Path,
    window: dict | None = None,
    pretrained: Path | None = None,
    **settings,
) -> list[str]:
    """Command line of stage `dynadiff.train`; `settings` are those of `run_settings`."""
    begin = ["--start", str(pretrained)] if pretrained else []
    run = run_settings(**settings)
    arguments = data_arguments(generator, data, run, seed=0, window=window or WINDOW)
    return ["dynadiff.train", *arguments, *begin, "--out", str(model / "train")]


def reconstruct_arguments(
    generator: config.Generator | None,
    data: SubjectData,
    model: Path,
    out: Path,
    windows: dict | None = None,
    trials: str = "all",
    run: dict | None = None,
    seed: int = 0,
    **test_set,
) -> list[str]:
    """Command line of stage `reconstruct`."""
    told = {"windows": windows or {"main": WINDOW}, "trials": trials, "data_seed": 0} | test_set
    arguments = data_arguments(generator, [data], run or run_settings(), seed, **told)
    return ["reconstruct", *arguments, "--model", str(model), "--out", str(out)]


def write_model(folder: Path, parameters: dict, record: dict, decoder: str = "dynadiff") -> None:
    """A model of one stage, as its training writes it."""
    write_artefact(folder / "train", parameters, record)
    write_model_record(folder, decoder, ["train"])


def load_model(model: Path, run: dict, generator: config.Generator | None = None):
    """The decoder of a trained model."""
    settings = plugins.run_settings(run)
    load = plugins.module("decoders", settings.decoder, "decoder").load
    return load(Trained(settings, model, {"tiny": generator}, {}, None, seed=0, device="cpu"))


def model_bytes(model: Path) -> bytes:
    """What is in the file of a model's parameters."""
    return (model / "train" / PARAMETERS).read_bytes()


def parameters_of(model: Path) -> dict[str, torch.Tensor]:
    """Parameters of a model."""
    return load_file(model / "train" / PARAMETERS)


def record_of(model: Path) -> dict:
    """What ``training.json`` of a model says."""
    return read_record(model / "train")


def checkpoints_of(model: Path) -> Path:
    """Where a training that was stopped left its checkpoints."""
    return model / "train.checkpoint"


def start(command: list[str], launcher: tuple[str, ...] = (), **options) -> subprocess.Popen:
    """Start a stage in a process of its own, on one thread and no GPU."""
    announced = {PROCESSES: "2"} if launcher else {}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "boldvision", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | announced,
        cwd=REPOSITORY,
        **options,
    )


def kill_when(condition, process: subprocess.Popen) -> None:
    """Kill a process, as a lost node does, as soon as `condition` holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -9
