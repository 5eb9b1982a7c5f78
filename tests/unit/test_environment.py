"""A training believes its own launcher alone."""

import os

import pytest
from decoder_data import model_bytes, train, write_subject

from boldvision import gpu
from boldvision.training import environment

pytestmark = pytest.mark.usefixtures("no_gpu")

LEFTOVERS = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_OFFLOAD_PARAMS": "true",
    "RANK": "1",
    "WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_SIZE": "4",
    "PMI_RANK": "2",
    "MASTER_PORT": "29500",
    "PET_NNODES": "2",
}


@pytest.fixture
def clean():
    """The environment, put back afterwards."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.survives(
    "jobs",
    "The shell sets variables of accelerate, torchrun or MPI, or a batch system left them",
    "Training forgets them: the same bytes, put in place; only variables of its own launcher count",
)
def test_variables_of_others_do_not_change_the_model(generator, folder, clean):
    data = [write_subject(folder, "subj01")]
    settings = {"steps": 2, "device_batch_size": 2}
    train(generator, data, folder / "without", **settings)
    os.environ.update(LEFTOVERS)
    train(generator, data, folder / "with", **settings)
    assert model_bytes(folder / "with") == model_bytes(folder / "without")
    assert not LEFTOVERS.keys() & os.environ.keys()


def test_what_our_launcher_says_is_kept(clean):
    own = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", environment.PROCESSES: "2"}
    os.environ.update(own)
    environment.believe_launcher()
    assert own.items() <= os.environ.items()
    assert environment.processes() == 2
    assert not environment.is_main_process()


@pytest.mark.parametrize("announced", ["3", ""])
def test_a_launcher_that_others_contradict_is_not_ours(clean, announced):
    os.environ.update({"RANK": "1", "WORLD_SIZE": "2", environment.PROCESSES: announced})
    environment.believe_launcher()
    assert environment.processes() == 1
    assert environment.is_main_process()


@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_the_launcher_begins_afresh(clean, monkeypatch, gpus):
    """What a process sees that `gpu --accelerate` becomes."""
    seen = {}
    monkeypatch.setattr(gpu, "lease", lambda count, locks: [])
    monkeypatch.setattr(os, "execvp", lambda *_: seen.update(os.environ))
    os.environ.update(LEFTOVERS)
    gpu.main(["--gpus", str(gpus), "--accelerate", "--", "-m", "boldvision", "dynadiff.train"])
    assert not LEFTOVERS.keys() & seen.keys()
    assert seen.get(environment.PROCESSES) == ("2" if gpus == 2 else None)
