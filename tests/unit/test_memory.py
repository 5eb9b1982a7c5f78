"""What a training holds on a card, and what is said where a card is too small."""

import pytest
import torch
from decoder_data import (
    mean_image_settings,
    reconstruct_arguments,
    run_settings,
    train,
    train_arguments,
    write_subject,
)

from boldvision import cli, config, plugins
from boldvision.costs import Sizes
from boldvision.decoders.dynadiff.decoder import DynadiffDecoder
from boldvision.decoders.dynadiff.memory import held
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.decoders.mindeye1.settings import HighLevel, LowLevel, Run
from boldvision.errors import UserError
from boldvision.generators.base import load_generator
from boldvision.held import GIB, Held
from boldvision.memory import enough_memory, training_remedy

pytestmark = pytest.mark.usefixtures("no_gpu")

TORCH_SAYS = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.64 GiB of "
    "which 1.06 GiB is free. Process 7 has 22.5 GiB memory in use."
)


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01")


def too_small(*arguments):
    raise torch.OutOfMemoryError(TORCH_SAYS)


@pytest.mark.survives(
    "places",
    "A card has too little memory for a batch of a training or of a reconstruction",
    "The job stops and says what was asked for, the card's memory, and which setting takes less",
)
def test_a_card_that_is_too_small(generator, subject, folder, monkeypatch, capsys):
    asked = (
        "the memory of the GPU is too small, 2.50 GiB more were asked for of a card of 23.64 GiB"
    )
    train(generator, [subject], folder / "model", steps=1)
    monkeypatch.setattr(DiffusionObjective, "loss", too_small)
    assert cli.main(train_arguments(generator, [subject], folder / "never", steps=1)) == 1
    lower = "Lower `training.device_batch_size` of the run (now 4)"
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"boldvision dynadiff.train: {asked}. {lower}")
    assert "`training.activation_checkpointing: true`" in said
    monkeypatch.setattr(DynadiffDecoder, "reconstruct", too_small)
    command = reconstruct_arguments(generator, subject, folder / "model", folder / "out")
    assert cli.main(command) == 1
    lower = "Lower `reconstruction.batch_size` of the run (now 2)"
    assert capsys.readouterr().err.startswith(f"boldvision reconstruct: {asked}. {lower}")


@pytest.mark.parametrize("said", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_libraries_say_it_in_other_words(said):
    too_small = pytest.raises(UserError, match=r"the memory of the GPU is too small\. Use")
    with too_small, enough_memory("Use less."):
        raise RuntimeError(said)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), enough_memory("Use less."):
        raise RuntimeError("shapes differ")


def test_the_remedy_fits_the_run():
    checkpointing = plugins.run_settings(run_settings(activation_checkpointing=True))
    assert "activation_checkpointing" not in training_remedy(checkpointing, "train")
    untrained = plugins.run_settings(mean_image_settings())
    assert training_remedy(untrained, "train") == "Use a card with more memory."


def test_the_remedy_names_the_section_of_the_stage():
    """Of a batch that is not accumulated: a smaller part of it would be refused."""
    run = Run.model_construct(
        high_level=HighLevel(learning_rate=1e-3, activation_checkpointing=True),
        low_level=LowLevel(learning_rate=1e-3),
    )
    assert training_remedy(run, "high_level").startswith("Share the batch among more GPUs")
    assert "`low_level.activation_checkpointing: true`" in training_remedy(run, "low_level")
    for stage in ("high_level", "low_level"):
        assert "device_batch_size" not in training_remedy(run, stage)


def test_what_is_counted_is_what_autograd_saves(generator):
    """Of the tiny generator, whose weights are real here; a card's attention saves a seed too."""
    run = plugins.run_settings(run_settings(dropout=0.0))
    counted = held(run, Sizes({"subj01": 5}, 3, {"tiny": generator}, {}, 0))
    frozen = load_generator(generator)
    model = Dynadiff({"subj01": 5}, 3, frozen, run).train()
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    inputs = [("subj01", torch.zeros(8, 3, 5))], torch.zeros(8, 4, 2, 2), torch.zeros(8).long()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept_alive = model(*inputs, torch.zeros(8, dtype=torch.bool))
    found = sum(t.untyped_storage().nbytes() for p, t in saved.items() if p not in parameters)
    assert kept_alive.requires_grad
    trained = 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert (counted.weights, counted.state) == (weights, 3 * trained)
    assert counted.saved + 8 * counted.per_sample == pytest.approx(found, rel=0.02)
    assert counted.recomputed_per_sample < 0.7 * counted.per_sample


@pytest.fixture(scope="module")
def nsd():
    """The run `dynadiff` of NSD, on subj01."""
    settings = config.Generator(
        kind="versatile_diffusion", folder="none", image_px=512, tokens=257, width=768
    )
    changes = {"brain_module": {"hidden": 1552}, "lora": {"rank": 4}}
    run = plugins.run_settings(run_settings(changes=changes, precision="bf16"))
    return held(run, Sizes({"subj01": 15724}, 6, {"tiny": settings}, {}, 0))


def test_a_batch_of_the_paper_fits_80_gib(nsd):
    """Counted apart on a CPU, with all tensors: 44.2 GB saved of 40 samples, 7.9 of the inputs."""
    assert nsd.saved + 40 * nsd.per_sample == pytest.approx(44.2e9, rel=0.05)
    assert 7.5e9 < nsd.recomputed + 40 * nsd.recomputed_per_sample < 11e9
    assert nsd.weights + nsd.state == pytest.approx(0.86e9 * 2 + 0.346e9 * 16, rel=0.02)
    assert nsd.largest_batch(80 * GIB, checkpointing=False) >= 40
    assert 0 < nsd.largest_batch(24 * GIB, checkpointing=False) < 40
    assert nsd.largest_batch(24 * GIB, checkpointing=True) >= 40


def test_a_card_that_is_too_small_for_the_weights_fits_nothing():
    held = Held(20 * GIB, 0, 0, 1, 0, 1)
    assert held.largest_batch(20 * GIB, checkpointing=False) == 0
