"""ZeRO stage 2 on two processes without a GPU; needs the optional package (envs/optional.in)."""

import subprocess

import pytest
import torch
from decoder_data import (
    REPOSITORY,
    TWO_PROCESSES,
    checkpoints_of,
    kill_when,
    parameters_of,
    record_of,
    start,
    train_arguments,
    write_subject,
)

from boldvision.decoders.dynadiff_official.zero import read_checkpoint

pytest.importorskip("deepspeed", reason="see envs/optional.in")

ZERO = str(REPOSITORY / "config" / "deepspeed_zero2.json")
SETTINGS = {"steps": 40, "log_every": 5, "checkpoint_every_s": 0}

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def data(folder):
    return [write_subject(folder, "subj01", n_images=8, n_voxels=5)]


def launch(generator, data, out, **settings):
    command = train_arguments(generator, data, out, **SETTINGS | settings)
    return start(command, TWO_PROCESSES, stderr=subprocess.PIPE)


def trained(generator, data, out, **settings):
    """Record and parameters of a model."""
    process = launch(generator, data, out, **settings)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    record = record_of(out)
    assert record["processes"] == 2
    return record, parameters_of(out)


@pytest.fixture(scope="module")
def undisturbed(generator, data, folder):
    return trained(generator, data, folder / "undisturbed", deepspeed=ZERO)


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_it_learns_what_is_learnt_without(generator, data, folder, undisturbed):
    _, without = trained(generator, data, folder / "without")
    assert largest_difference(undisturbed[1], without) < 1e-5


@pytest.mark.survives(
    "jobs",
    "Training with DeepSpeed is killed",
    "It goes on from its last sharded checkpoint, to the same parameters",
)
def test_a_killed_run_resumes_to_the_same_model(generator, data, folder, undisturbed):
    out = folder / "killed"
    work = checkpoints_of(out)
    process = launch(generator, data, out, deepspeed=ZERO)
    kill_when(lambda: list(work.glob("*/step-*/progress.json")), process)
    record, parameters = trained(generator, data, out, deepspeed=ZERO)
    assert 0 < record["resumed_at"] < SETTINGS["steps"]
    assert record["losses"] == undisturbed[0]["losses"]
    assert largest_difference(parameters, undisturbed[1]) == 0
    assert not work.exists()


def test_the_import_reads_what_deepspeed_wrote_as_deepspeed_does(generator, data, folder):
    """Frozen, trained and padded parameters of two processes."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    work = checkpoints_of(folder / "read")
    process = launch(generator, data, folder / "read", deepspeed=ZERO, steps=100_000)
    kill_when(lambda: list(work.glob("*/step-*/progress.json")), process)
    whole = sorted(work.glob("*/step-*/progress.json"))[0].parent
    states = next(whole.rglob("mp_rank_00_model_states.pt"))
    ranks = sorted(states.parent.glob("*zero_pp_rank_*_optim_states.pt"))
    assert len(ranks) == 2
    found = read_checkpoint(states, ranks)
    tag = states.parent.name
    expected = get_fp32_state_dict_from_zero_checkpoint(str(states.parent.parent), tag=tag)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name].float(), value) for name, value in expected.items())
