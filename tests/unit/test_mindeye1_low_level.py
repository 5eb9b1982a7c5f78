"""MindEye1's low level: latents of a blurry picture, and what a teacher says of its places."""

import json
import os
import resource
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from decoder_data import (
    NSD_PREP,
    PX,
    TWO_PROCESSES,
    WINDOW,
    data_arguments,
    start,
    write_subject,
)
from safetensors.torch import load_file, save_file

from boldvision import cli
from boldvision.config import Window
from boldvision.decoders.mindeye1 import augment, low_level
from boldvision.decoders.mindeye1.low_level_network import SCALE, LowLevelNetwork
from boldvision.decoders.mindeye1.settings import LowLevel
from boldvision.networks.convnext import network as convnext
from boldvision.networks.convnext.settings import Network
from boldvision.trials.windows import load_windows

pytestmark = pytest.mark.usefixtures("no_gpu")

PUBLISHED = {"learning_rate": 5e-4}
"""All else is the default."""
SMALL = {
    "learning_rate": 1e-3,
    "warmup_steps": 0,
    "steps": 4,
    "batch_size": 4,
    "device_batch_size": 4,
    "checkpoint_every_s": 0,
    "hidden": 6,
    "blocks": 1,
    "channels": 8,
    "side": 2,
    "decoder_channels": [16],
}
VIEWS = {"high_level": augment.high_level, "low_level": augment.low_level}


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01")


@pytest.fixture(scope="module")
def teacher(folder):
    """Settings of a teacher of random weights, of 2 x 2 places."""
    settings = Network(
        kind="convnext", folder=str(folder / "teacher"), image_px=PX, depths=(1, 1), widths=(4, 8),
        width=6, label="random",
    )  # fmt: skip
    torch.manual_seed(0)
    (folder / "teacher").mkdir()
    state = convnext.ConvNext(settings).state_dict()
    save_file(state, folder / "teacher" / convnext.WEIGHTS)
    return settings


def arguments(subject, teacher, out, **changes):
    """Command line of the stage."""
    run = {
        "decoder": "mindeye1",
        "split": "standard",
        "preprocessing": "nsd_prep",
        "generator": "tiny",
        "clip": "clip",
        "tokens": "clip_image",
        "latents": "vae",
        "teacher": "convnext",
        "high_level": {"learning_rate": 1e-3},
        "low_level": SMALL | changes,
    }
    networks = {"convnext": teacher.model_dump()}
    told = data_arguments(None, [subject], run, seed=0, window=WINDOW, networks=networks)
    return ["mindeye1.low_level", *told, "--out", str(out / "low_level")]


def train(*given, **changes):
    """Run the stage in this process, as in one that just began."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    assert cli.main(arguments(*given, **changes)) == 0


@pytest.fixture
def objective(subject, teacher):
    """Of a batch of 4, without its network."""
    windows = low_level.Samples(job(subject, "trials"))
    latents = low_level.TargetFile(subject.targets["vae"])
    return low_level.Objective(windows, latents, convnext.load(teacher), LowLevel(**SMALL), seed=0)


def job(subject, samples):
    """What `Samples` asks of a job."""
    window = Window(**WINDOW)
    files = subject.bold, subject.trials, subject.split
    return SimpleNamespace(
        data=[subject],
        window=window,
        run=SimpleNamespace(samples=samples),
        windows=lambda _: load_windows(*files, window, NSD_PREP, "train"),
    )


@pytest.mark.parametrize(("inputs", "expected"), [(15724, 206_065_604), (6 * 15724, 528_093_124)])
def test_the_network_has_the_published_size(inputs, expected):
    with torch.device("meta"):
        network = LowLevelNetwork(inputs, 512, LowLevel(**PUBLISHED))
        latents, tokens = network(torch.empty(1, inputs // 15724, 15724))
    count = {n: sum(p.numel() for p in part.parameters()) for n, part in network.named_children()}
    assert sum(count.values()) == expected
    assert network.upsampler.conv_norm_out.num_groups == 32
    assert (count["upsampler"], count["maps_projector"]) == (6_841_668, 559_616)
    assert (latents.shape, tokens.shape) == ((1, 4, 64, 64), (1, 256, 512))


@pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="9 GB: BOLDVISION_SLOW=1")
def test_a_step_of_true_size(capsys):
    """Of one sample: network, teacher at 512 px, loss and gradient; no optimizer."""
    torch.manual_seed(0)
    began, settings = time.monotonic(), LowLevel(**PUBLISHED)
    network = LowLevelNetwork(6 * 15724, 512, settings)
    large = {"image_px": 512, "depths": (3, 3, 27, 3), "widths": (256, 512, 1024, 2048)}
    teacher = convnext.ConvNext(Network(kind="convnext", folder="x", width=512, **large))
    objective = SimpleNamespace(teacher=teacher.requires_grad_(False).eval(), settings=settings)
    plain, augmented = torch.rand(2, 1, 3, 512, 512)
    batch = {"bold": torch.randn(1, 6, 15724), "mean": torch.zeros(1, 4, 64, 64)}
    batch |= {"plain": plain, "augmented": augmented}
    loss = low_level.Objective.loss(objective, network, batch)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with capsys.disabled():
        print(f"\nlow level: {time.monotonic() - began:.1f} s, peak {peak:.1f} GB")


def test_a_window_is_flattened_sample_by_sample():
    network = LowLevelNetwork(6, 6, LowLevel(**SMALL)).eval()
    bold = torch.arange(6.0).view(1, 2, 3)
    seen = []
    network.lin0[0].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    latents, _ = network(bold)
    assert seen[0].tolist() == [[0, 1, 2, 3, 4, 5]]
    torch.testing.assert_close(network.latents(bold), latents / 0.18215)


def test_layers_have_no_bias_but_those_of_the_last_ones():
    network = LowLevelNetwork(6, 6, LowLevel(**SMALL))
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    of_decoder = {m for m in network.upsampler.modules() if isinstance(m, torch.nn.Linear)}
    assert all(m.bias is None for m in linear if m not in of_decoder)
    assert [m.bias is None for m in network.maps_projector if hasattr(m, "kernel_size")] == [
        True, True, False,
    ]  # fmt: skip
    assert network.norm.num_groups == network.maps_projector[1].num_groups == 1


def test_likeness_is_two_cross_entropies_of_all_tokens():
    student, plain, augmented = torch.randn(3, 5, 4, dtype=torch.float64)
    s, e, a = (x / x.norm(dim=1, keepdim=True) for x in (student, plain, augmented))
    expected = 0.0
    for teacher, found in ((e @ a.T, s @ a.T), (a @ e.T, a @ s.T)):
        for p, q in zip((teacher / 0.075).exp(), (found / 0.075).exp(), strict=True):
            expected -= ((p / p.sum()) * (q / q.sum()).log()).sum() / 5 / 2
    torch.testing.assert_close(low_level.likeness(student, plain, augmented, 0.075), expected)
    assert low_level.likeness(7 * plain, plain, augmented, 0.075) < expected


def test_the_loss_weighs_latents_and_tokens(objective):
    batch = objective.batch(2, slice(0, 4))
    latents = torch.randn(4, 4, 2, 2)
    tokens = objective.teacher.tokens(batch["plain"])
    loss = objective.loss(lambda _: (latents * SCALE, tokens), batch)
    error = (latents - batch["mean"].float()).abs().mean()
    sides = [objective.teacher.tokens(batch[k]).flatten(0, 1) for k in ("plain", "augmented")]
    torch.testing.assert_close(loss, error + 0.1 * low_level.likeness(sides[0], *sides, 0.075))


def test_batches_are_of_their_rows_alone(objective):
    whole, part = objective.batch(3, slice(0, 4)), objective.batch(3, slice(2, 4))
    assert whole.keys() == part.keys() == {"bold", "mean", "plain", "augmented"}
    for key, values in part.items():
        assert torch.equal(values, whole[key][2:]), key
    other = objective.batch(4, slice(0, 4))
    assert not torch.equal(other["augmented"], whole["augmented"])


def test_of_images_all_repetitions_are_weighed(subject):
    windows = low_level.Samples(job(subject, "images"))
    assert len(windows) == 6  # of 8 images, two test
    weights = [np.array([0.5, 0.25, 0.25], np.float32)] * 2
    found = windows.weighted(np.array([1, 4]), weights)
    of_image = windows.windows.trials["image_id"].to_numpy() == windows.image_id[4]
    three = np.stack([windows.windows[i : i + 1][0] for i in np.flatnonzero(of_image)])
    np.testing.assert_allclose(found[1], three[0] / 2 + three[1] / 4 + three[2] / 4, rtol=1e-5)


def test_weights_of_repetitions():
    kinds = {"random": 0, "equal": 0, "one": 0}
    for step in range(300):
        first, second = low_level.repetition_weights(0, step, [5, 6], [3, 3])
        assert first.sum() == pytest.approx(1)
        assert first.dtype == np.float32
        kind = "equal" if np.ptp(first) == 0 else "one" if first.max() == 1 else "random"
        kinds[kind] += 1
        assert kind == "equal" or kind == "one" or not np.array_equal(first, second)
        (alone,) = low_level.repetition_weights(0, step, [6], [3])
        assert np.array_equal(alone, second)
    assert kinds["random"] == pytest.approx(150, abs=30)
    assert kinds["equal"] == pytest.approx(90, abs=30)
    assert low_level.repetition_weights(0, 1, [0], [1])[0].tolist() == [1.0]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_is_of_its_seed_alone(view):
    pictures = torch.rand(6, 3, 20, 20)
    views = augment.augment(pictures, range(6), view, 16)
    assert views.shape == (6, 3, 16, 16)
    assert views.min() >= 0
    assert views.max() <= 1
    before = torch.random.get_rng_state()
    alone = augment.augment(pictures[3:4], [3], view, 16)
    assert torch.equal(alone[0], views[3])
    assert torch.equal(torch.random.get_rng_state(), before)  # dropout draws from it meanwhile
    assert not torch.equal(augment.augment(pictures[3:4], [4], view, 16)[0], views[3])


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("high_level", {"_crop": 0.3, "horizontal_flip": 0.5, "_jitter": 0.3, "_grey": 0.3}),
        (
            "low_level",
            {"_crop": 1, "_jitter": 0.8, "_grey": 0.2, "solarize": 0.2, "gaussian_blur": 0.1},
        ),
    ],
)
def test_how_often_a_picture_is_changed(view, expected, monkeypatch):
    counts = dict.fromkeys(expected, 0)

    def counting(name, change):
        def counted(*given, **named):
            counts[name] += 1
            return change(*given, **named)

        return counted

    for name in expected:
        place = augment if name.startswith("_") else augment.F
        monkeypatch.setattr(place, name, counting(name, getattr(place, name)))
    augment.augment(torch.rand(1, 3, 8, 8).expand(600, 3, 8, 8), range(600), VIEWS[view], 8)
    for name, share in expected.items():
        assert counts[name] / 600 == pytest.approx(share, abs=0.07), name


def test_solarization_inverts_what_is_bright():
    pictures = torch.full((400, 3, 4, 4), 0.9)
    views = augment.augment(pictures, range(400), augment.low_level, 4)
    assert 0.1 < (views.amax((1, 2, 3)) < 0.3).float().mean() < 0.3


def test_crops_keep_area_and_ratio(monkeypatch):
    crops = []
    monkeypatch.setattr(
        augment.F, "resized_crop", lambda p, top, left, h, w, size: crops.append((h, w)) or p
    )
    augment.augment(torch.zeros(200, 3, 100, 100), range(200), augment.low_level, 100)
    heights, widths = np.array(crops).T
    assert 0.45 < (heights * widths / 1e4).min() < 0.6
    assert (heights * widths).max() > 9e3
    assert 0.74 < (widths / heights).min() < 0.9
    assert 1.1 < (widths / heights).max() < 1.35


def test_the_stage_learns(subject, teacher, folder):
    out = folder / "learns"
    train(subject, teacher, out, steps=30, log_every=10, dropout=0)
    record = json.loads((out / "low_level" / "training.json").read_text())
    assert record["losses"][-1]["loss"] < record["losses"][0]["loss"]
    assert (record["inputs"], record["width"], record["teacher"]) == (15, 6, "random")
    network = LowLevelNetwork(15, 6, LowLevel(**SMALL))
    stored = load_file(out / "low_level" / "model.safetensors")
    assert network.trained().keys() == stored.keys()
    assert record["parameters"] == sum(value.numel() for value in stored.values())


def test_two_processes_learn_what_one_does(subject, teacher, folder):
    changes = {"dropout": 0, "block_dropout": 0}
    train(subject, teacher, folder / "one", **changes)
    command = arguments(subject, teacher, folder / "two", **changes)
    process = start(command, TWO_PROCESSES, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    one, two = (load_file(folder / n / "low_level" / "model.safetensors") for n in ("one", "two"))
    # A key's bias changes nothing: of its gradient, which is rounding, AdamW makes whole steps.
    names = [name for name in one if not name.endswith("to_k.bias")]
    assert len(one) - len(names) == 1
    differences = {name: (one[name] - two[name]).abs().max().item() for name in names}
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"side": 4}, "low_level.side: 4 and 1 `decoder_channels` make latents of 4 x 4"),
        ({"side": 1, "decoder_channels": [16, 16]}, "low_level.side: expected 2"),
        ({"device_batch_size": 3}, "low_level.device_batch_size is 3; expected at least 4"),
    ],
)
def test_what_does_not_fit_is_refused(subject, teacher, folder, capsys, changes, said):
    assert cli.main(arguments(subject, teacher, folder / "refused", **changes)) == 1
    assert said in capsys.readouterr().err
