"""What another repetition in the training set is worth: images that can only be remembered.

Voxels tell images apart by a random pattern of each, and know nothing of what an image shows. No
decoder can reconstruct an image that it was not trained on; it can remember one that it was. The
published time-resolved split tests on images of both kinds, the leakage-free split does not.

Identification, chance 0.50, of 60 leaked and 60 unleaked test trials, seeds 0 to 2: as published
0.85, 0.83, 0.80 and 0.47, 0.49, 0.57; leakage-free 0.56, 0.54, 0.50 and 0.57, 0.50, 0.57.
"""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from boldvision import cli, config
from boldvision.datasets.miniature import bold, scenes
from boldvision.datasets.miniature.known_answer.identification import pixel_identification
from boldvision.datasets.nsd.runs import TR_S
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.seeds import numpy_generator
from boldvision.signal.clean import clean
from boldvision.trials.splits import time_resolved, time_resolved_leakage_free
from boldvision.trials.table import read_split, write_split, write_trials

SEED = 0
IMAGES, VOXELS, NOISE = 120, 200, 0.5
RUNS, TEST_RUNS, TRIALS_PER_RUN = 12, 4, 30
FOLDER = config.__path__[0].replace("config", "generators/tiny")
GENERATOR = {
    "kind": "tiny", "folder": FOLDER, "image_px": 32, "tokens": 16, "width": 32, "label": "tiny",
}  # fmt: skip
RUN = {
    "decoder": "dynadiff",
    "preprocessing": "nsd_prep",
    "generator": "tiny",
    "latents": "vae",
    "brain_module": {"hidden": 128, "dropout": 0.2},
    "training": {
        "steps": 300, "batch_size": 32, "device_batch_size": 32, "learning_rate": 6e-3,
        "warmup_steps": 20, "checkpoint_every_s": 1000,
    },
    "reconstruction": {"steps": 10, "batch_size": 90},
}  # fmt: skip
CLEANING = {"kind": "nsd_prep", "detrend": "cosine", "cutoff_s": 400.0}
WINDOW = {"start_s": 3.0, "n_tr": 6}


def trial_table(seed):
    """Three repetitions of every image: of one half in the same run, of the other in three runs."""
    random = numpy_generator(seed, "leak", "trials")
    massed, spread = random.permutation(IMAGES).reshape(2, RUNS, -1) + 1
    again = [np.roll(spread, shift, axis=0) for shift in (0, 4, 8)]
    image_id = random.permuted(np.hstack([massed, massed, massed, *again]), axis=1)
    return pd.DataFrame(
        {
            "trial": np.arange(image_id.size),
            "session": 1,
            "task_run": np.repeat(np.arange(1, RUNS + 1), TRIALS_PER_RUN),
            "onset_row": 9 + 6 * np.tile(np.arange(TRIALS_PER_RUN), RUNS),
            "onset_s": 12.0 + 8 * np.tile(np.arange(TRIALS_PER_RUN), RUNS),
            "image_id": image_id.ravel(),
        }
    )


def write_session(trials, folder, seed):
    """A clean session of voxels that tell images apart by a random pattern of each."""
    random = numpy_generator(seed, "leak", "bold")
    pattern = bold.RESPONSE_STD * random.standard_normal((IMAGES, VOXELS))
    typical = np.ones(VOXELS, int)
    noise = config.Miniature(noise=NOISE)
    runs = []
    for _, run in trials.groupby("task_run"):
        rows, shown = run["onset_row"].to_numpy(), run["image_id"].to_numpy() - 1
        series = bold.run_response(rows, pattern[shown], typical)
        series += bold.run_noise(random, VOXELS, noise)
        runs.append(clean(series[:225], "cosine", CLEANING["cutoff_s"], TR_S)[0])
    folder.mkdir()
    np.save(folder / "session01.npy", np.stack(runs))


def simulate(folder, seed):
    """Files of a subject: trials, clean series, pictures and their latents."""
    trials = trial_table(seed)
    write_trials(trials, folder / "trials.parquet")
    told = {"subject": "subj01", "test_runs": TEST_RUNS, "seed": seed}
    for split in (time_resolved, time_resolved_leakage_free):
        name = split.__name__.rpartition(".")[2]
        write_split(trials, split.split(trials, **told), folder / f"{name}.parquet")
    write_session(trials, folder / "bold", seed)
    with h5py.File(folder / "images.h5", "w") as file:
        file["image_id"] = np.arange(1, IMAGES + 1)
        file["images"] = scenes.render_all(seed, IMAGES, 48)
    settings = {
        "target": {"kind": "vae", "generator": "tiny"},
        "generators": {"tiny": GENERATOR},
    }
    files = ["--images", str(folder / "images.h5"), "--out", str(folder / "latents.h5")]
    stage("target", settings, *files, "--batch-size", "60")
    return trials


def identification(folder, split, seed):
    """Two-way identification by pixels of every test trial, by a model trained on `split`."""
    settings = {
        "run": {**RUN, "split": split},
        "generators": {"tiny": GENERATOR},
        "preprocessing": CLEANING,
    }
    files = {"trials": "trials.parquet", "split": f"{split}.parquet"}
    files |= {"images": "images.h5", "bold": "bold"}
    places = {name: str(folder / file) for name, file in files.items()}
    places["targets"] = {"vae": str(folder / "latents.h5")}
    data = ["--data", json.dumps({"subj01": places}), "--seed", str(seed)]
    model, made = folder / f"{split}.model", folder / split
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    stage("dynadiff.train", settings | {"window": WINDOW}, *data, "--out", f"{model}/train")
    settings |= {"windows": {"main": WINDOW}, "trials": "all", "data_seed": seed}
    stage("reconstruct", settings, *data, "--model", str(model), "--out", str(made))
    return pixel_identification(made / "main.h5", folder / "images.h5")


def stage(name, settings, *arguments):
    assert cli.main([name, "--settings", json.dumps(settings), *arguments]) == 0


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Test trials: `leaked`, and how well the model of each split identifies them."""
    folder = tmp_path_factory.mktemp("leak")
    torch.set_num_threads(1)  # sums in another order are other sums
    trials = simulate(folder, SEED)
    split = read_split(folder / "time_resolved.parquet", trials)
    trained = trials.loc[split == "train", "image_id"]
    published, free = (
        identification(folder, split, SEED)
        for split in ("time_resolved", "time_resolved_leakage_free")
    )
    assert (published["image_id"] == free["image_id"]).all()
    return published.assign(
        leakage_free=free["value"], leaked=published["image_id"].isin(trained)
    ).rename(columns={"value": "published"})


def interval(frame, values):
    return bootstrap_interval(
        values.to_numpy(), frame["image_id"].to_numpy(), samples=2000, seed=0, level=0.99
    )


def test_a_leaked_image_scores_higher_than_an_unleaked_one(scores):
    by_leak = scores.groupby("leaked")["published"].mean()
    assert scores["leaked"].sum() >= 30
    assert (~scores["leaked"]).sum() >= 30
    assert by_leak[True] > by_leak[False] + 0.1
    leaked = scores[scores["leaked"]]
    low, _ = interval(leaked, leaked["published"])
    assert low > 0.6


@pytest.mark.survives(
    "results",
    "Another repetition of a test image was trained on",
    "Its score is lifted; with the leakage-free split the same trials are at chance",
)
def test_without_leaks_the_same_trials_are_at_chance(scores):
    leaked = scores[scores["leaked"]]
    low, _ = interval(leaked, leaked["published"] - leaked["leakage_free"])
    assert low > 0.1
    low, high = interval(leaked, leaked["leakage_free"])
    assert low < 0.5 < high


def test_images_that_were_never_trained_are_at_chance_in_both(scores):
    unleaked = scores[~scores["leaked"]]
    for split in ("published", "leakage_free"):
        low, high = interval(unleaked, unleaked[split])
        assert low < 0.5 < high
