"""A killed workflow, started again, ends with the same bytes as one that nobody disturbed.

The whole process group is killed with SIGKILL, which no process can catch, while it downloads,
cleans and reconstructs; while it trains, Snakemake alone is, and the training ends by itself.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.unit.config_data import ROOT, values_of

MODEL = "dynadiff/subj01/main/seed-0"
TARGET = f"results/killed/reconstructions/{MODEL}/subj01/single_trial"
FILES = [
    "results/killed/bold/nsd_prep/subj01/session01.npy",
    f"results/killed/models/{MODEL}/train/model.safetensors",
    f"{TARGET}/main.h5",
]
MOMENTS = {
    "download": "resources/killed/nsddata_timeseries/**/session01.partial/*.gz",
    "prepare": "results/killed/bold/nsd_prep/subj01/.session01.part.npy",
    "train": f"results/killed/models/{MODEL}/train.checkpoint/*/step-*.pt",
    "reconstruct": f"{TARGET}.partial/*/.main.part.h5",
}
"""What each stage writes before it is finished."""


def prepare_folder(folder):
    """A folder to run in, with the default configuration cut down to one session."""
    config = values_of()
    config |= {"dataset": "killed", "s3": {"serve": "resources/killed/bucket"}}
    config["subjects"] = {"subj01": config["subjects"]["subj01"]}
    config["subjects"]["subj01"] |= {"sessions": 1, "rest_sessions": []}
    config["design"] |= {"images": 1825, "images_per_subject": 250, "shared_images": 25}
    for scope in config["scopes"].values():
        scope |= {"subjects": ["subj01"], "specialized_shifts": [], "few_sessions": [1]}
    config["runs"]["dynadiff_pretrained"]["pretrained"]["subjects"] = ["subj01"]
    run = config["runs"]["dynadiff"]
    run["training"] |= {"steps": 60, "warmup_steps": 10, "checkpoint_every_s": 0}
    run["training"] |= {"batch_size": 16, "device_batch_size": 16}
    run["reconstruction"] |= {"batch_size": 2}
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "boldvision").symlink_to(ROOT / "boldvision")


def start(folder, *options):
    """Start Snakemake as the leader of a process group of its own."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "printed").open("ab") as printed:
        return subprocess.Popen(
            [*command, "--cores", "2", *options, TARGET],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(folder, *options):
    assert start(folder, *options).wait(timeout=300) == 0, (folder / "printed").read_text()


def kill_at(folder, pattern, alone):
    """Kill Snakemake, alone or with all its jobs, as soon as a file exists."""
    process = start(folder, "--rerun-incomplete")
    deadline = time.monotonic() + 120
    while not any(folder.glob(pattern)):
        running = process.poll() is None and time.monotonic() < deadline
        assert running, f"{pattern} never existed\n{(folder / 'printed').read_text()}"
        time.sleep(0.005)
    if alone:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare_folder(folder)
    finish(folder)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    prepare_folder(folder)
    for stage, pattern in MOMENTS.items():
        kill_at(folder, pattern, alone=stage == "train")
        assert not (folder / TARGET).exists(), f"{stage} was finished before it was killed"
        finish(folder, "--unlock")
    finish(folder, "--rerun-incomplete")
    return folder


@pytest.mark.survives(
    "jobs",
    "`kill -9` of Snakemake and its jobs in a download, the cleaning, a training, a reconstruction",
    "Unlocked, the same command goes on, to the same bytes as a run that nobody disturbed",
)
@pytest.mark.parametrize("file", FILES)
def test_bytes_are_the_same(undisturbed, killed, file):
    assert (killed / file).read_bytes() == (undisturbed / file).read_bytes()


def test_training_went_on_from_its_checkpoint(undisturbed, killed):
    record = f"results/killed/models/{MODEL}/train/training.json"
    whole, resumed = (json.loads((root / record).read_text()) for root in (undisturbed, killed))
    assert whole["resumed_at"] == 0
    assert resumed["resumed_at"] > 0
    assert resumed["losses"] == whole["losses"]


@pytest.mark.survives(
    "files",
    "A job is killed while it writes",
    "After the next run, none of its half-written files is left",
)
def test_nothing_half_written_is_left(killed):
    names = ("**/.*.part*", "**/*.partial", "**/*.checkpoint")
    left = [path for name in names for path in killed.glob(f"re*s/killed/{name}")]
    assert left == []
