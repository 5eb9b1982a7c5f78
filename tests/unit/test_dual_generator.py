"""The dual generator: two conditions mixed in every transformer, and the weights that ship."""

import json
import os
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from dual_data import noisy_latents, tokens_of_both, write_dual_generator
from safetensors.torch import load_file, save_file

from boldvision import config
from boldvision.errors import UserError
from boldvision.flop import teraflop
from boldvision.generators import base
from boldvision.generators.base import WEIGHTS, full_size_unet_config, load_generator
from boldvision.generators.dual import (
    DualTransformer,
    DualUNet,
    load_dual_generator,
    new_text_transformers,
    transformers,
)

T = torch.tensor([999, 500, 1])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write_dual_generator(tmp_path_factory.mktemp("dual"))


@pytest.fixture(scope="module")
def unet(settings):
    return load_dual_generator(settings).unet


@pytest.fixture
def copy(settings, tmp_path):
    """Settings of a copy that can be damaged, and its folder."""
    shutil.copytree(settings.folder, tmp_path / "copy")
    return settings.model_copy(update={"folder": str(tmp_path / "copy")}), tmp_path / "copy"


@torch.no_grad()
def test_text_share_0_is_the_plain_image_unet(settings, unet):
    plain = load_generator(settings.model_copy(update={"kind": "tiny"})).unet
    noisy, (image, text) = noisy_latents(3), tokens_of_both(3)
    expected = plain(noisy, T, encoder_hidden_states=image).sample
    for share in (0, 1e-9):
        found = unet(noisy, T, image, text, share)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_text_share_1_ignores_the_image_and_0_the_text(unet):
    noisy, (image, text), (other_image, other_text) = (
        noisy_latents(3), tokens_of_both(3), tokens_of_both(3, seed=5),
    )  # fmt: skip
    found = unet(noisy, T, image, text, 1)
    assert torch.equal(unet(noisy, T, other_image, text, 1), found)
    assert (unet(noisy, T, image, other_text, 1) - found).abs().max() > 1e-3
    assert torch.equal(unet(noisy, T, image, text, 0), unet(noisy, T, image, other_text, 0))


@torch.no_grad()
def test_every_transformer_adds_both_changes_by_their_shares(unet):
    image, text = tokens_of_both(2)
    pairs = [module for module in unet.modules() if isinstance(module, DualTransformer)]
    assert len(pairs) == 4
    for pair in pairs:
        h = torch.randn(2, pair.image.config.in_channels, 2, 2)
        by_image = pair.image(h, image, return_dict=False)[0] - h
        by_text = pair.text(h, text, return_dict=False)[0] - h
        both = {"text_tokens": text, "text_share": 0.4}
        (found,) = pair(h, image, cross_attention_kwargs=both)
        torch.testing.assert_close(found, h + 0.6 * by_image + 0.4 * by_text)
        assert (by_image - by_text).abs().max() > 1e-3


def test_only_transformers_of_the_text_unet_are_read(copy):
    settings, folder = copy
    path = folder / "text_unet" / WEIGHTS
    expected = load_dual_generator(settings).unet.state_dict()
    stored = load_file(path)
    assert all(".attentions." in name for name in stored)
    flat = {"conv_in.weight": torch.zeros(2), "down_blocks.0.resnets.0.conv1.weight": torch.ones(3)}
    save_file(stored | flat, path)
    found = load_dual_generator(settings).unet.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not any(
        parameter.requires_grad for parameter in load_dual_generator(settings).unet.parameters()
    )


@pytest.mark.survives(
    "results",
    "The text U-Net lacks a transformer's parameters, or has others than the image U-Net",
    "It is refused, with the file and one of them",
)
def test_missing_and_unknown_parameters_are_refused(copy):
    settings, folder = copy
    path, name = folder / "text_unet" / WEIGHTS, "mid_block.attentions.0.proj_in.weight"
    stored = load_file(path)
    save_file({key: value for key, value in stored.items() if key != name}, path)
    with pytest.raises(UserError, match=rf"text_unet/{WEIGHTS}: .* 1 missing and 0 un.*{name}"):
        load_dual_generator(settings)
    save_file(stored | {"mid_block.attentions.9.proj_in.weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match=r"0 missing and 1 unknown, such as mid_block.attentions.9"):
        load_dual_generator(settings)
    save_file(stored | {name: torch.ones(2, 2, 1, 1)}, path)
    with pytest.raises(UserError, match=rf"text_unet/{WEIGHTS}: expected transformers of the "):
        load_dual_generator(settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cross_attention_dim", 13),
        ("attention_head_dim", 8),
        ("_class_name", "UNet2DConditionModel"),
        ("block_out_channels", [32, 72]),
    ],
)
def test_sizes_of_the_text_unet_are_checked(copy, key, value):
    settings, folder = copy
    file = folder / "text_unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match=rf"text_unet/config\.json: {key}: expected .*Correct"):
        load_dual_generator(settings)


def test_a_dual_folder_without_a_text_unet_is_refused(copy):
    settings, folder = copy
    shutil.rmtree(folder / "text_unet")
    with pytest.raises(UserError, match=r"scheduler, text_unet, found no text_unet\. Fetch"):
        load_dual_generator(settings)
    load_generator(settings.model_copy(update={"kind": "tiny"}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "tiny"}, "'tiny' with `text_tokens`"),
        ({"text_width": None}, "'tiny_dual' without `text_width`"),
        ({"kind": "versatile_diffusion_dual", "text_tokens": None}, "without `text_tokens`"),
    ],
)
def test_text_belongs_to_dual_kinds_alone(settings, change, says):
    with pytest.raises(ValueError, match=says):
        config.Generator(**settings.model_dump() | change)


@pytest.mark.parametrize(("key", "expected"), [("text_tokens", 77), ("text_width", 768)])
def test_tokens_of_the_published_generator_are_checked(settings, monkeypatch, key, expected):
    full = {"image_px": 512, "tokens": 257, "width": 768, "text_tokens": 77, "text_width": 768}
    monkeypatch.setattr(base, "load_vae", lambda settings: None)
    wrong = settings.model_dump() | full | {"kind": "versatile_diffusion_dual", key: 5}
    with pytest.raises(UserError, match=rf"is used with {key} {expected}, the .* says 5"):
        load_dual_generator(config.Generator(**wrong))


def test_at_true_size_a_mixed_call_costs_what_was_counted():
    with torch.device("meta"), torch.no_grad():
        image = UNet2DConditionModel(**full_size_unet_config())
        unet = DualUNet(image, new_text_transformers(image, 768))
        given = (
            torch.empty(1, 4, 64, 64),
            torch.ones(1),
            *map(torch.empty, ((1, 257, 768), (1, 77, 768))),
        )
        counted = [teraflop(lambda share=share: unet(*given, share)) for share in (0, 0.4, 1)]
    assert counted == pytest.approx([0.818, 1.203, 0.803], abs=0.001)
    parameters = sum(parameter.numel() for parameter in unet.parameters())
    assert parameters / 1e6 == pytest.approx(859.5 + 267.2, abs=0.1)


@pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="a slow import: BOLDVISION_SLOW=1")
def test_the_text_unet_of_diffusers_has_the_transformers_of_the_image_unet():
    """At true size; it is the class of the published `text_unet`, whose other layers are flat."""
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import (
        UNetFlatConditionModel,
    )

    sizes = full_size_unet_config()
    flat = {
        key: tuple(name.replace("2D", "Flat") for name in sizes[key])
        for key in ("down_block_types", "up_block_types")
    }
    with torch.device("meta"):
        text = UNetFlatConditionModel(
            **sizes | flat, mid_block_type="UNetMidBlockFlatCrossAttn"
        ).state_dict()
        own = transformers(UNet2DConditionModel(**sizes))
    asked = {f"{n}.{k}": v.shape for n, m in own.items() for k, v in m.state_dict().items()}
    assert {k: v.shape for k, v in text.items() if ".attentions." in k} == asked
    assert len(asked) == 416
    assert len(text) > len(asked)
