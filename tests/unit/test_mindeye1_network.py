"""MindEye1's map from a window to tokens, and what its training shows it."""

import os
import subprocess
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from decoder_data import (
    TOKENS,
    TWO_PROCESSES,
    WIDTH,
    WINDOW,
    data_arguments,
    start,
    write_subject,
)
from safetensors.torch import load_file

from boldvision import cli, plugins
from boldvision.config import Window
from boldvision.costs import Sizes
from boldvision.decoders.base import Job
from boldvision.decoders.mindeye1.high_level import Augmented, Cached, Objective
from boldvision.decoders.mindeye1.memory import held, held_by_low_level
from boldvision.decoders.mindeye1.network import BrainNetwork, MindEye
from boldvision.decoders.mindeye1.samples import Samples, whole
from boldvision.decoders.mindeye1.settings import Brain, HighLevel
from boldvision.decoders.record import read_record
from boldvision.errors import UserError
from boldvision.hdf5 import write_text
from boldvision.held import GIB
from boldvision.shipped import shipped
from boldvision.targets.base import digest
from boldvision.training.loop import _adamw

SMALL = Brain(hidden=16, blocks=2, projector=12)

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.mark.parametrize(("inputs", "count"), [(15_724, 947_579_904), (94_344, 1_269_607_424)])
def test_it_has_the_published_parameters(inputs, count):
    with torch.device("meta"):
        network = BrainNetwork(inputs, 257, 768, Brain())
    assert sum(p.numel() for p in network.parameters()) == count
    assert count == 4096 * inputs + 883_174_400


def test_both_networks_together_have_the_published_parameters():
    with torch.device("meta"):
        model = MindEye(15_724, 257, 768, HighLevel(learning_rate=3e-4))
    assert sum(p.numel() for p in model.parameters()) == 1_003_635_088
    assert sum(p.numel() for p in model.trained().values()) == 1_003_635_088 - 16


def test_biases_and_the_prior_s_table_of_distances_are_not_decayed_and_gains_are():
    with torch.device("meta"):
        model = MindEye(15, 5, 8, HighLevel(**settings()))
    told = HighLevel(**settings())
    decayed, others = _adamw(model, told, torch.device("cpu")).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    exempt = {names[id(parameter)] for parameter in others["params"]}
    assert "prior.distance_bias.weight" in exempt
    assert {name.rpartition(".")[2] for name in exempt} == {"bias", "weight"}
    kept = {names[id(parameter)] for parameter in decayed["params"]}
    assert {"brain.lin0.1.weight", "prior.norm.gain", "prior.null_brain"} <= kept


def test_what_both_trainings_hold_at_true_size_is_counted():
    """Weights, gradients and two moments, 16 bytes of each parameter, and activations."""
    told = plugins.run_settings(run(high_level={"learning_rate": 1, "precision": "fp16"}))
    frozen = {"generators": {"tiny": SimpleNamespace(tokens=257, width=768)},
              "networks": {"convnext": SimpleNamespace(width=512)}}  # fmt: skip
    sizes = Sizes(voxels={"subj01": 15_724}, n_tr=6, trials=27_000, **frozen)
    parts = {held: 1_269_607_424 + 56_055_184, held_by_low_level: 528_093_124}
    for count, parameters in parts.items():
        found = count(told, sizes)
        assert found.weights == 4 * parameters
        assert found.state == pytest.approx(12 * parameters, rel=1e-6)
        assert found.largest_batch(80 * GIB, checkpointing=False) > 32


def test_only_the_first_layer_depends_on_the_samples_of_a_window():
    one, six = (BrainNetwork(n_tr * 10, 5, 8, SMALL).state_dict() for n_tr in (1, 6))
    assert one.keys() == six.keys()
    other = [name for name in one if one[name].shape != six[name].shape]
    assert other == ["lin0.0.weight"]
    assert six["lin0.0.weight"].shape == (16, 60)


def test_a_window_is_flattened_sample_by_sample():
    network, seen = BrainNetwork(30, 5, 8, SMALL).eval(), []
    network.lin0.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    bold = torch.arange(60.0).reshape(2, 3, 10)
    tokens, compared = network(bold)
    assert tokens.shape == compared.shape == (2, 5, 8)
    assert torch.equal(seen[0].reshape(2, 3, 10), bold)
    assert torch.equal(seen[0][0, 10:20], bold[0, 1])


def test_blocks_are_residual_and_the_projector_treats_every_token_alike():
    network = BrainNetwork(10, 5, 8, SMALL).eval()
    for block in network.mlp:
        torch.nn.init.zeros_(block[0].weight), torch.nn.init.zeros_(block[0].bias)
    bold = torch.randn(2, 1, 10)
    tokens, compared = network(bold)
    assert torch.allclose(tokens, network.lin1(network.lin0(bold.flatten(1))).unflatten(-1, (5, 8)))
    assert torch.allclose(compared[:, 3], network.projector(tokens[:, 3]), atol=1e-6)


@pytest.mark.skipif(not os.environ.get("BOLDVISION_SLOW"), reason="a network of 1.3 GB parameters")
def test_a_window_at_true_size():
    """In bfloat16, 2.6 GB."""
    with torch.device("meta"):
        network = BrainNetwork(94_344, 257, 768, Brain()).bfloat16().eval()
    network = network.to_empty(device="cpu")
    for parameter in network.parameters():
        parameter.data.normal_(std=0.01)
    with torch.no_grad():
        tokens, compared = network(torch.randn(1, 6, 15_724).bfloat16())
    assert tokens.shape == compared.shape == (1, 257, 768)
    assert torch.isfinite(compared).all()


# What is shown


def settings(**changes):
    return {
        "steps": 6, "batch_size": 4, "device_batch_size": 4, "learning_rate": 1e-2,
        "checkpoint_every_s": 0, "log_every": 1, "epochs": 3, "augment": False,
        "undecayed": ["bias"], "one_cycle": {"peak_at": 0.3},
        "brain": {"hidden": 8, "blocks": 1, "projector": 6, "dropout": 0, "block_dropout": 0},
        "prior": {"depth": 1, "heads": 2, "head_width": 4, "steps": 5},
        "contrast": {"mixed_epochs": 0.67},
    } | changes  # fmt: skip


def run(**changes):
    return {
        "decoder": "mindeye1", "split": "standard", "preprocessing": "nsd_prep",
        "generator": "tiny", "clip": "clip", "tokens": "clip_image", "latents": "sd_latents",
        "teacher": "convnext", "high_level": settings(),
        "low_level": {"learning_rate": 1e-3},
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def subject(folder):
    """A subject with tokens of its images."""
    data = write_subject(folder, "subj01", n_images=8, n_voxels=5)
    random = np.random.default_rng(0)
    with h5py.File(data.targets["vae"]) as file:
        ids = file["image_id"][:]
    tokens = random.standard_normal((len(ids), TOKENS, WIDTH)).astype(np.float16)
    data.targets["clip_image"] = folder / "tokens.h5"
    with h5py.File(data.targets["clip_image"], "w") as file:
        file["image_id"], file["tokens"] = ids, tokens
        write_text(file, "sha256", digest(ids, {"tokens": tokens}))
    return data


def job(*data, networks=None, **changes):
    told = {"run": plugins.run_settings(run(**changes)), "data": data, "window": Window(**WINDOW)}
    empty = dict.fromkeys(["generators", "model", "start", "out", "checkpoints"])
    return Job(**told, networks=networks, seed=0, **empty)


def objective(subject, **changes):
    samples = Samples(job(subject))
    told = HighLevel(**settings(**changes))
    return Objective(samples, Cached(job(subject), samples), told, 0)


def test_trials_or_images_are_counted(subject):
    trials, images = Samples(job(subject)), Samples(job(subject, samples="images"))
    assert (len(trials), len(images)) == (18, 6)
    assert trials.image_id.tolist() == trials.windows.trials["image_id"].tolist()
    for step in range(3):
        read = images.read(np.array([2, 5]), step)
        chosen = [np.flatnonzero(trials.image_id == images.image_id[i])[step] for i in (2, 5)]
        assert torch.equal(read, trials.read(np.array(chosen), 0))
    assert torch.equal(images.read(np.array([2]), 3), images.read(np.array([2]), 0))


def test_epochs_of_samples_say_how_long_a_training_is():
    told = HighLevel(learning_rate=3e-4, batch_size=32, steps=66_240)
    assert whole(told, 27_000).steps == 66_240
    by_samples = told.model_copy(update={"counted": "samples"})
    assert whole(by_samples, 27_000).steps == 202_320
    assert whole(by_samples, 8_859).steps == 66_240


def test_several_subjects_are_refused(subject):
    with pytest.raises(UserError, match=r"expected one subject.* found 2; train a model of each"):
        Samples(job(subject, subject))


def test_rows_are_mixed_with_their_partners_wherever_these_are_computed(subject):
    made = objective(subject)
    both = made.batch(1, slice(0, 4))
    halves = [made.batch(1, slice(0, 2)), made.batch(1, slice(2, 4))]
    for key in ("bold", "images", "noise", "time", "dropped"):
        assert torch.equal(both[key], torch.cat([half[key] for half in halves])), key
    assert torch.equal(both["labels"], halves[1]["labels"])
    shown = made.samples.read(made.batches[1], 1)
    share, whole_rows = torch.diag(both["labels"]), both["labels"].argmax(1)
    assert ((both["bold"] - shown).abs().amax((1, 2)) > 0).any()
    for row in range(4):
        (others,) = torch.nonzero(both["labels"][row] * (torch.arange(4) != row), as_tuple=True)
        for other in others.tolist():
            mixed = share[row] * shown[row] + (1 - share[row]) * shown[other]
            assert torch.allclose(both["bold"][row], mixed, atol=1e-6)
        if not len(others):
            assert torch.equal(both["bold"][row], shown[row])
    assert whole_rows.shape == (4,)


@pytest.fixture(scope="module")
def augmented(subject):
    """Images for the tiny CLIP that ships."""
    values = {"kind": "clip", "folder": shipped("boldvision/networks/clip/tiny"),
              "image_tokens": 17, "text_tokens": 16, "width": 64,
              "image_teraflop": 1e-5, "text_teraflop": 1e-5}  # fmt: skip
    told = job(subject, networks={"clip": plugins.network_settings(values)})
    return Augmented(told, Samples(told), torch.device("cpu"))


def test_an_image_is_augmented_by_step_and_row_whatever_is_read_with_it(augmented):
    samples = np.array([3, 3, 3, 5])
    both = augmented.read(2, np.arange(4), samples)
    assert torch.equal(both[2:], augmented.read(2, np.array([2, 3]), samples[2:]))
    assert len({tuple(view.flatten().tolist()) for view in both}) == 4
    assert not torch.equal(both, augmented.read(3, np.arange(4), samples))


def test_targets_of_augmented_images_are_clip_s(subject, augmented):
    samples = Samples(job(subject))
    made = Objective(samples, augmented, HighLevel(**settings()), 0)
    model = MindEye(samples.inputs, *augmented.shape, made.settings)
    batch = made.batch(0, slice(0, 4))
    tokens = augmented.tokens(batch["images"])
    assert tokens.shape[1:] == augmented.shape == (17, 64)
    assert tokens[:, 0].norm(dim=-1).tolist() == pytest.approx([1] * 4)
    loss = made.loss(model, batch)
    loss.backward()
    assert torch.isfinite(loss)


def test_windows_are_whole_when_softclip_is_at_work(subject):
    made = objective(subject)
    batch = made.batch(5, slice(0, 4))
    assert "labels" not in batch
    assert torch.equal(batch["bold"], made.samples.read(made.batches[5], 5))
    assert batch["temperature"].item() == pytest.approx(0.004)


def test_conditions_are_dropped_independently_in_a_fifth_of_all_samples(subject):
    made = objective(subject, batch_size=18, device_batch_size=18)
    batches = [made._draw(step, np.arange(18)) for step in range(200)]
    dropped = torch.cat([batch["dropped"] for batch in batches]).float()
    assert dropped.mean(0).tolist() == pytest.approx([0.2, 0.2], abs=0.02)
    assert dropped.prod(1).mean().item() == pytest.approx(0.04, abs=0.015)
    time = torch.cat([batch["time"] for batch in batches])
    assert torch.bincount(time, minlength=5).float().div(len(time)).tolist() == pytest.approx(
        [0.2] * 5, abs=0.03
    )


def test_the_prior_is_told_the_unmixed_image_whose_error_counts_30_times(subject):
    made, seen = objective(subject), []

    def knows(bold, noisy, time, dropped):
        seen.append(noisy)
        return compared, clean

    batch = made.batch(0, slice(0, 4))
    target, compared = batch["images"].float(), torch.randn(4, TOKENS, WIDTH)
    clean = target * WIDTH**0.5
    known = made.loss(knows, batch)
    kept = made.diffusion.of_step["kept"][batch["time"]][:, None, None]
    expected = kept.sqrt() * clean + (1 - kept).sqrt() * batch["noise"]
    assert torch.allclose(seen[0], expected)
    clean = clean + 0.5
    assert (made.loss(knows, batch) - known).item() == pytest.approx(30 * 0.25, rel=1e-4)


# Trained end to end


def command(subject, out, **changes):
    told = data_arguments(None, [subject], run(**changes), seed=0, window=WINDOW)
    return ["mindeye1.high_level", *told, "--out", str(out / "high_level")]


def train(subject, out, **changes):
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    assert cli.main(command(subject, out, **changes)) == 0
    return load_file(out / "high_level" / "model.safetensors")


def difference(a, b):
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.fixture(scope="module")
def one(subject, folder):
    return train(subject, folder / "one")


def test_two_processes_learn_what_one_does(subject, folder, one):
    """The contrastive loss is that of all rows: of two halves, it would be another."""
    out = folder / "two"
    process = start(command(subject, out), TWO_PROCESSES, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    records = [read_record(folder / name / "high_level") for name in ("one", "two")]
    assert [record["processes"] for record in records] == [1, 2]
    assert difference(load_file(out / "high_level" / "model.safetensors"), one) < 1e-5
    losses = [[line["loss"] for line in record["losses"]] for record in records]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_all_that_is_trained_moves_and_is_saved(subject, folder, one):
    before = train(subject, folder / "less", high_level=settings(steps=5))
    assert "prior.frequencies" not in one
    assert [name for name in one if torch.equal(before[name], one[name])] == []
    record = read_record(folder / "one" / "high_level")
    assert record["inputs"] == 15
    assert record["tokens"] == [TOKENS, WIDTH]
    assert sum(v.numel() for v in one.values()) == sum(record["parameters"].values()) - 2


@pytest.mark.survives(
    "results",
    "Rows of a batch whose loss compares all of them do not fit their cards at once",
    "Training does not begin: it says how large the batch of a device must be",
)
def test_a_batch_that_would_be_accumulated_is_refused(subject, folder, capsys):
    told = command(subject, folder / "small", high_level=settings(device_batch_size=2))
    assert cli.main(told) == 1
    assert "high_level.device_batch_size is 2; expected at least 4" in capsys.readouterr().err


def test_recomputed_activations_learn_the_same(subject, folder, one):
    told = settings(activation_checkpointing=True)
    assert difference(train(subject, folder / "twice", high_level=told), one) < 1e-6


def test_half_precision_changes_the_losses_by_rounding_alone(subject, folder, one):
    train(subject, folder / "half", high_level=settings(precision="bf16"))
    losses = [
        [line["loss"] for line in read_record(folder / name / "high_level")["losses"]]
        for name in ("one", "half")
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
