"""The weights that Dynadiff's authors published become a model of ours, or a message."""

import re

import pytest
import torch
from decoder_data import N_TR, load_model, reconstruct_arguments, write_subject
from official_data import (
    CLIP,
    convert_arguments,
    frozen_unet,
    in_half,
    official_names,
    random_model,
    run_settings,
    write_checkpoint,
    write_official,
)

from boldvision import cli
from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.record import OFFICIAL, stage_records

pytestmark = pytest.mark.usefixtures("no_gpu")

VOXELS = 5


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01", n_voxels=VOXELS)


@pytest.fixture(scope="module")
def ours(generator):
    return random_model(generator, run_settings("unused"), VOXELS)


def convert(generator, subject, run, out, **more):
    """Whether it worked."""
    return cli.main(convert_arguments(generator, subject, run, out, **more)) == 0


@pytest.fixture(scope="module")
def imported(folder, generator, subject, ours):
    """A model, of two processes and with the U-Net that they adapted."""
    frozen = {f"model.{n}": v.half() for n, v in frozen_unet(ours).items()}
    write_official(folder / "weights", ours, frozen=frozen)
    run = run_settings(folder / "weights")
    assert convert(generator, subject, run, folder / "model")
    return folder / "model", run


def test_every_parameter_arrives(imported, ours):
    parameters, _ = read_artefact(imported[0] / "convert")
    expected = ours.trained()
    assert parameters.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(parameters[name], value), name


def released_brain_module(official, bold, n_tr):
    """The forward pass of the released code, written anew: a convolution of a group per sample."""
    weights = {n.removeprefix(f"model.{CLIP}"): v for n, v in official.items()}
    x = torch.einsum("btv,vd->btd", bold, weights["subject_layers.weights"][0])
    width = x.shape[-1]
    x = torch.nn.functional.conv1d(
        x.flatten(1)[..., None], weights["lin0.weight"].reshape(n_tr * width, width, 1),
        weights["lin0.bias"], groups=n_tr,
    ).reshape(-1, n_tr, width)  # fmt: skip
    norm = weights["post_lin0.0.weight"], weights["post_lin0.0.bias"]
    x = torch.nn.functional.gelu(torch.nn.functional.layer_norm(x, (width,), *norm))
    x = (
        torch.einsum("btd,t->bd", x, weights["out_time_agg.weight"][0])
        + weights["out_time_agg.bias"]
    )
    return x @ weights["lin1.weight"].T + weights["lin1.bias"]


def test_the_brain_module_computes_what_the_released_one_does(imported, generator, ours):
    decoder = load_model(*imported, generator)
    official = {f"model.{n}": v.double() for n, v in official_names(ours.trained()).items()}
    bold = torch.randn(3, N_TR, VOXELS, dtype=torch.float64)
    found = decoder.model.brain_module.double()([("subj01", bold)])
    expected = released_brain_module(official, bold, N_TR).unflatten(-1, found.shape[1:])
    assert (found - expected).abs().max() < 1e-12


def test_results_say_what_the_weights_are(imported, generator, subject, tmp_path):
    decoder = load_model(*imported, generator)
    assert decoder.label == f"{OFFICIAL}; {generator.label}"
    record = stage_records(imported[0])["convert"]
    assert record["source"] == OFFICIAL
    assert len(record["files"]) == 3
    assert record["compared_with_the_generator"] > 100
    assert record["parameters"]["unet_trained"] > 0
    assert not {"losses", "samples_per_second", "steps"} & set(record)
    run = imported[1]
    arguments = reconstruct_arguments(generator, subject, imported[0], tmp_path / "out", run=run)
    assert cli.main(arguments) == 0


@pytest.mark.parametrize("name", ["sub01", "subj01"])
@pytest.mark.parametrize(("ranks", "padded"), [(1, True), (3, True), (2, False)])
def test_any_number_of_processes(generator, subject, ours, tmp_path, name, ranks, padded):
    write_official(tmp_path / "weights", ours, name=name, ranks=ranks, padded=padded)
    assert convert(generator, subject, run_settings(tmp_path / "weights"), tmp_path / "model")
    parameters, record = read_artefact(tmp_path / "model" / "convert")
    assert all(torch.equal(parameters[n], value) for n, value in ours.trained().items())
    assert record["compared_with_the_generator"] == 0


LORA = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q.lora_A.default.weight"


def changed(official, case):
    """Parameters as they should not be."""
    layer = official[f"{CLIP}subject_layers.weights"]
    return official | {
        "several subjects": {f"{CLIP}subject_layers.weights": layer.repeat(2, 1, 1)},
        "another subject": {f"{CLIP}subject_layers.weights": torch.cat([layer, layer], 1)},
        "a blurry module": {"brain_modules.blurry.lin0.bias": torch.ones(3)},
        "residual blocks": {f"{CLIP}mlp.0.0.weight": torch.ones(3)},
        "an unknown name": {f"{CLIP}lin2.bias": torch.ones(3)},
        "an unknown adapter": {in_half(LORA, 0).replace("attn2", "attn1"): torch.ones(3)},
        "another width": {f"{CLIP}post_lin0.0.bias": torch.ones(7)},
        "a parameter of no network": {"conv_in.bias": torch.ones(1)},
    }.get(case, {})


@pytest.mark.survives(
    "results",
    "Official weights lack a parameter, have one too many, or are of another subject, of several, "
    "or of a variant of the model",
    "The import stops and names the parameter and what was expected",
)
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("a missing name", "expected brain_modules.clip_image.lin1.bias, found none among"),
        ("a missing adapter", "expected unet.mid_block.attentions.0.transformers.0.transformer"),
        ("several subjects", "expected weights of one subject, found .* of 2"),
        ("another subject", "expected 5 voxels, as the clean series of subj01 have, found 10"),
        ("a blurry module", "found a brain module beside clip_image, brain_modules.blurry.lin0"),
        ("residual blocks", "found residual blocks, brain_modules.clip_image.mlp.0.0.weight"),
        ("an unknown name", "found another, brain_modules.clip_image.lin2.bias"),
        ("an unknown adapter", "found another, unet.mid_block.*attn1"),
        ("another width", r"post_lin0.0.bias of shape \[6\], .* found \[7\]"),
        ("a parameter of no network", "found another, conv_in.bias"),
    ],
)
def test_other_weights_are_refused(generator, subject, ours, tmp_path, capsys, case, told):
    official = changed(official_names(ours.trained()), case)
    if case == "a missing name":
        del official[f"{CLIP}lin1.bias"]
    if case == "a missing adapter":
        del official[in_half(LORA, 0)]
    write_checkpoint(
        tmp_path / "sub01" / "checkpoint", {f"model.{n}": v for n, v in official.items()}
    )
    assert not convert(generator, subject, run_settings(tmp_path), tmp_path / "model")
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "model" / "model.json").exists()


def test_what_the_released_code_does_not_load_is_not_asked_for(generator, subject, ours, tmp_path):
    official = {f"model.{n}": v for n, v in official_names(ours.trained()).items()}
    text = "model.unet.mid_block.attentions.0.transformers.1.proj_in.bias"
    more = {"metric.total", "model.vae.decoder.conv_in.bias", text}
    more = dict.fromkeys(more, torch.ones(3))
    write_checkpoint(tmp_path / "sub01" / "checkpoint", official | more)
    assert convert(generator, subject, run_settings(tmp_path), tmp_path / "model")


@pytest.mark.survives(
    "results",
    "Official weights were trained on another U-Net than the generator's",
    "The import stops and names the first parameter that differs by more than bfloat16 rounds",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_of_another_unet_are_refused(generator, subject, ours, tmp_path, capsys, dtype):
    frozen = {f"model.{n}": v.to(dtype) for n, v in frozen_unet(ours).items()}
    write_official(tmp_path / "same", ours, frozen=frozen)
    assert convert(generator, subject, run_settings(tmp_path / "same"), tmp_path / "model")
    other = "model.unet.mid_block.attentions.0.transformers.0.proj_in.bias"
    frozen[other] = frozen[other] * 1.02
    write_official(tmp_path / "other", ours, frozen=frozen)
    assert not convert(generator, subject, run_settings(tmp_path / "other"), tmp_path / "no")
    told = capsys.readouterr().err
    assert other.removeprefix("model.") in told
    assert "correct `generator`" in told


def test_another_window_is_refused(generator, subject, ours, tmp_path, capsys):
    write_official(tmp_path / "weights", ours)
    run, window = run_settings(tmp_path / "weights"), {"start_s": 4.0, "n_tr": N_TR + 1}
    assert not convert(generator, subject, run, tmp_path / "model", window=window)
    assert "lin0.weight of shape [24, 1, 6]" in capsys.readouterr().err
