"""Dynadiff's variants: what of the U-Net is trained, betas, few sessions, several subjects."""

from dataclasses import replace
from itertools import count
from pkgutil import resolve_name

import h5py
import numpy as np
import pytest
import torch
from decoder_data import (
    PX,
    load_model,
    model_bytes,
    parameters_of,
    reconstruct_arguments,
    record_of,
    run_settings,
    train,
    train_arguments,
    write_model,
    write_subject,
)

from boldvision import cli, config
from boldvision.errors import UserError
from boldvision.generators.base import load_generator

pytestmark = pytest.mark.usefixtures("no_gpu")

STEPS = 5
"""Of a run that is stopped on the way; there is a checkpoint after every second."""

PRETRAINED = {"pretrained": {"run": "joint", "subjects": ["subj02", "subj05"]}}


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01", sessions=3)


@pytest.fixture(scope="module")
def others(folder):
    return [
        write_subject(folder, "subj02", n_images=4, n_voxels=4, first_image=101),
        write_subject(folder, "subj05", n_images=6, n_voxels=7, first_image=201),
    ]


@pytest.fixture(scope="module")
def joint(generator, others, folder):
    """A model of two subjects with different numbers of voxels."""
    train(generator, others, folder / "joint", steps=3)
    return folder / "joint"


@pytest.fixture(scope="module")
def undisturbed(generator, subject, joint, folder):
    """A model that starts from the joint one, of a run that nobody stopped."""
    out = folder / "undisturbed"
    train(generator, [subject], out, pretrained=joint, changes=PRETRAINED, steps=STEPS)
    return out


def reconstructed(generator, data, model, out, changes=None, windows=None):
    """Pictures of the test trials of a subject."""
    run = run_settings(changes=changes)
    assert cli.main(reconstruct_arguments(generator, data, model, out, windows, run=run)) == 0
    with h5py.File(out / "main.h5") as file:
        return file["images"][:]


class Stop(Exception):
    """What stops a run."""


def stop_at(patch, name, call):
    """Raise `Stop` in a call of the function `name`, counted from one."""
    function, calls = resolve_name(name), count(1)

    def stopping(*arguments):
        if next(calls) == call:
            raise Stop
        return function(*arguments)

    patch.setattr(name, stopping)


def in_unet(parameters):
    return {name.removeprefix("unet.") for name in parameters if name.startswith("unet.")}


@pytest.mark.parametrize("finetune", ["none", "cross_attention", "linear", "all"])
def test_what_is_finetuned_is_trained_saved_and_read(generator, subject, folder, finetune):
    changes, out = {"finetune": finetune}, folder / finetune
    train(generator, [subject], out, changes=changes, steps=3, unconditional="zeros")
    unet = load_generator(generator).unet
    linear = {
        f"{name}.{parameter}"
        for name, layer in unet.named_modules()
        if isinstance(layer, torch.nn.Linear)
        for parameter, _ in layer.named_parameters()
    }
    before = dict(unet.named_parameters())
    expected = {
        "none": set(),
        "cross_attention": {name for name in linear if ".attn2." in name},
        "linear": linear,
        "all": set(before),
    }[finetune]
    parameters = parameters_of(out)
    assert in_unet(parameters) == expected
    moved = {name for name in expected if not torch.equal(parameters[f"unet.{name}"], before[name])}
    assert moved == expected
    assert {value.dtype for value in parameters.values()} == {torch.float32}
    counted = record_of(out)["parameters"]
    assert counted["unet_trained"] == sum(before[name].numel() for name in expected)
    run = run_settings(changes=changes, unconditional="zeros")
    loaded = load_model(out, run, generator).model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in parameters.items())
    kept = set(before) - expected
    assert all(torch.equal(loaded[f"unet.{name}"], before[name]) for name in kept)


def test_a_model_is_not_read_as_one_of_another_kind(generator, subject, folder, joint):
    run = run_settings(changes={"finetune": "linear"})
    with pytest.raises(UserError, match=r"names or shapes differ, as of unet\."):
        load_model(joint, run, generator)


def test_betas_are_decoded_without_timestep_layers_and_aggregation(generator, subject, folder):
    data = replace(subject, preprocessing=config.Betas(kind="betas"), bold=folder / "betas")
    data.bold.mkdir()
    for session in (1, 2, 3):
        betas = np.random.default_rng(session).standard_normal((750, 1, 5), np.float32)
        np.save(data.bold / f"session{session:02d}.npy", betas)
    window = {"start_s": 0.0, "n_tr": 1}
    layers = {"hidden": 6, "timestep_layers": "none", "aggregation": "none"}
    changes = {"brain_module": layers, "preprocessing": "betas"}
    train(generator, [data], folder / "of_betas", window=window, changes=changes, steps=2)
    parameters = parameters_of(folder / "of_betas")
    assert not [n for n in parameters if "timestep_layers" in n or "merge_time" in n]
    out = folder / "betas_decoded"
    pictures = reconstructed(generator, data, folder / "of_betas", out, changes, {"main": window})
    assert pictures.shape == (6, PX, PX, 3)


def test_only_the_first_sessions_are_trained_on(generator, subject, folder):
    for sessions, trials in ((1, None), (2, None), (None, 18)):
        out = folder / f"sessions{sessions}"
        train(generator, [subject], out, changes={"sessions": sessions}, steps=3)
        assert record_of(out)["sessions"] == {"subj01": sessions or 3}
        found = record_of(out)["trials"]["subj01"]
        assert found == trials if trials else 0 < found <= 8 * sessions
    first, second, every = (parameters_of(folder / f"sessions{n}") for n in (1, 2, None))
    name = "brain_module.subject_layers.subj01.weight"
    assert not torch.equal(first[name], second[name])
    assert not torch.equal(second[name], every[name])


def test_a_joint_model_decodes_each_of_its_subjects(generator, others, joint, folder):
    assert record_of(joint)["voxels"] == {"subj02": 4, "subj05": 7}
    for data in others:
        pictures = reconstructed(generator, data, joint, folder / f"joint_{data.name}")
        assert pictures.shape == (6, PX, PX, 3)


def test_subjects_of_a_joint_model_learn_from_the_same_batches(generator, others, folder):
    """After a step of a batch that holds both, the layers of both have moved."""
    for steps in (1, 2):
        for again in ("", "again"):
            out = folder / f"both{steps}{again}"
            train(generator, others, out, steps=steps, batch_size=12, device_batch_size=12)
    once, twice = parameters_of(folder / "both1"), parameters_of(folder / "both2")
    assert {name for name in once if torch.equal(once[name], twice[name])} == set()
    for steps in (1, 2):
        assert model_bytes(folder / f"both{steps}") == model_bytes(folder / f"both{steps}again")


def test_a_new_subject_starts_from_what_the_others_share(generator, subject, joint, folder):
    """With no learning rate, what a model starts from is what it ends with."""
    still = {"steps": 1, "learning_rate": 1e-30}
    train(generator, [subject], folder / "scratch", **still)
    train(generator, [subject], folder / "from", pretrained=joint, changes=PRETRAINED, **still)
    old, scratch, found = (
        parameters_of(joint),
        parameters_of(folder / "scratch"),
        parameters_of(folder / "from"),
    )
    assert found.keys() == scratch.keys()
    own = {name for name in found if "subj01" in name}
    assert {name.split(".")[1] for name in own} == {"subject_layers", "timestep_layers"}
    assert all(torch.equal(found[name], scratch[name]) for name in own)
    assert all(torch.equal(found[name], old[name]) for name in found.keys() - own)
    assert not any(torch.equal(found[name], scratch[name]) for name in found.keys() - own)


def test_a_stopped_run_goes_on_from_its_checkpoint_not_from_its_start(
    generator, subject, joint, folder, undisturbed, monkeypatch
):
    out = folder / "stopped"
    settings = {"pretrained": joint, "changes": PRETRAINED, "steps": STEPS}
    with monkeypatch.context() as patch:
        stop_at(patch, "boldvision.training.loop.optimizer_settings", call=4)
        with pytest.raises(Stop):
            train(generator, [subject], out, **settings)
    train(generator, [subject], out, **settings)
    assert record_of(out)["resumed_at"] == 3
    assert model_bytes(out) == model_bytes(undisturbed)


@pytest.mark.survives(
    "results",
    "The model that a run starts from is trained again while the run is stopped",
    "The run begins anew from the new one",
)
def test_a_run_that_started_from_another_model_is_not_gone_on_with(
    generator, subject, joint, folder, undisturbed, monkeypatch
):
    """The joint model was trained again after a run that started from it had been stopped."""
    out, other = folder / "restarted", folder / "other_joint"
    write_model(other, {n: v + 1 for n, v in parameters_of(joint).items()}, record_of(joint))
    settings = {"changes": PRETRAINED, "steps": STEPS}
    with monkeypatch.context() as patch:
        stop_at(patch, "boldvision.decoders.stage.replace_folder", call=1)
        with pytest.raises(Stop):
            train(generator, [subject], out, pretrained=other, **settings)
    train(generator, [subject], out, pretrained=joint, **settings)
    assert record_of(out)["resumed_at"] == 0
    assert model_bytes(out) == model_bytes(undisturbed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "Give both or neither"),
        (
            {"pretrained": {"run": "joint", "subjects": ["subj02"]}},
            "expected a joint model of subj02, found one of subj02, subj05",
        ),
        (PRETRAINED | {"lora": {"rank": 3}}, "names or shapes differ, as of unet"),
        (PRETRAINED | {"finetune": "all"}, "names or shapes differ, as of unet"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    generator, subject, joint, folder, capsys, changes, message
):
    out = folder / "refused"
    command = train_arguments(generator, [subject], out, pretrained=joint, changes=changes)
    assert cli.main(command) == 1
    assert message in capsys.readouterr().err
    assert not (out / "train").exists()


@pytest.mark.parametrize("given", ["none", "missing"])
def test_a_start_that_is_not_there_is_named(generator, subject, folder, capsys, given):
    model = folder / "no_model" if given == "missing" else None
    command = train_arguments(
        generator, [subject], folder / "refused", pretrained=model, changes=PRETRAINED
    )
    assert cli.main(command) == 1
    expected = "Give both or neither" if given == "none" else "no_model/model.json"
    assert expected in capsys.readouterr().err
