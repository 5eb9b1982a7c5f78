"""Versatile Diffusion and Dynadiff at true size, on the meta device: shapes without memory."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from boldvision import config
from boldvision.decoders.dynadiff.model import Dynadiff, add_lora, count_parameters
from boldvision.decoders.dynadiff.settings import Lora, Run, Training
from boldvision.generators.base import Generator, full_size_unet_config, full_size_vae_config
from boldvision.generators.constant import constant_tokens
from boldvision.generators.pretrain import new_scheduler

VOXELS = 15724


def millions(parameters) -> float:
    return sum(parameter.numel() for parameter in parameters) / 1e6


def new_generator():
    settings = config.Generator(
        kind="versatile_diffusion", folder="unused", image_px=512, tokens=257, width=768
    )
    with torch.device("meta"):
        unet = UNet2DConditionModel(**full_size_unet_config()).requires_grad_(False)
        vae = AutoencoderKL(**full_size_vae_config()).requires_grad_(False)
    return Generator(settings, unet, vae, new_scheduler())


def new_model(generator, finetune):
    """Dynadiff of subj01; changes the generator's U-Net."""
    run = Run(
        decoder="dynadiff",
        split="standard",
        preprocessing="nsd_prep",
        generator="versatile_diffusion",
        latents="vae",
        finetune=finetune,
        training=Training(learning_rate=1e-4),
    )
    with torch.device("meta"):
        return Dynadiff({"subj01": VOXELS}, 6, generator, run)


@pytest.fixture(scope="module")
def generator():
    return new_generator()


@pytest.fixture(scope="module")
def model(generator):
    return new_model(generator, "lora")


def test_networks_have_the_published_sizes(generator, model):
    frozen = [p for n, p in generator.unet.named_parameters() if ".lora_" not in n]
    assert millions(frozen) == pytest.approx(859.5, abs=0.05)
    assert millions(generator.vae.parameters()) == pytest.approx(83.7, abs=0.05)
    assert generator.latent_shape == (4, 64, 64)


def test_adapters_are_on_cross_attention_only(generator, model):
    adapters = {n: p for n, p in generator.unet.named_parameters() if ".lora_" in n}
    assert millions(adapters.values()) == pytest.approx(0.40, abs=0.005)
    assert all(".attn2.to_" in name for name in adapters)
    # 16 transformer blocks, 4 projections, 2 matrices
    assert len(adapters) == 16 * 4 * 2


def test_only_brain_module_adapters_and_unconditional_tokens_are_trained(model):
    trained = model.trained()
    assert {name for name in trained if name.startswith("unet.")} == {
        name for name, _ in model.named_parameters() if ".lora_" in name
    }
    assert trained["unconditional"].shape == (257, 768)
    counted = count_parameters(model)
    assert counted["brain_module"] / 1e6 == pytest.approx(345.4, abs=0.05)
    assert counted["unet_trained"] / 1e6 == pytest.approx(0.40, abs=0.005)
    assert counted["unet_frozen"] / 1e6 == pytest.approx(859.5, abs=0.05)


@pytest.mark.parametrize(
    ("finetune", "expected"),
    [("none", 0), ("cross_attention", 44), ("linear", 270), ("all", 859.5)],
)
def test_what_is_finetuned_has_the_size_of_the_ledger(finetune, expected):
    generator = new_generator()
    model = new_model(generator, finetune)
    trained = {n: p for n, p in model.trained().items() if n.startswith("unet.")}
    assert millions(trained.values()) == pytest.approx(expected, abs=0.5)
    counted = count_parameters(model)
    assert counted["unet_trained"] / 1e6 == millions(trained.values())
    assert (counted["unet_trained"] + counted["unet_frozen"]) / 1e6 == millions(
        generator.unet.parameters()
    )
    if finetune == "cross_attention":
        assert len(trained) == 16 * (4 + 1)  # weights, and the bias of to_out.0
        assert all(".attn2.to_" in name for name in trained)
    assert not any(parameter.requires_grad for parameter in generator.vae.parameters())


def test_the_whole_model_predicts_noise_at_true_size(model):
    with torch.device("meta"), torch.no_grad():
        noise = model(
            [("subj01", torch.empty(2, 6, VOXELS))],
            torch.empty(2, 4, 64, 64),
            torch.zeros(2, dtype=torch.int64),
            torch.zeros(2, dtype=torch.bool),
        )
    assert noise.shape == (2, 4, 64, 64)


def test_the_unet_takes_257_tokens_and_the_vae_512_pixels(generator):
    with torch.device("meta"), torch.no_grad():
        latents, tokens = torch.empty(2, 4, 64, 64), torch.empty(2, 257, 768)
        predicted = generator.unet(
            latents, torch.zeros(2, dtype=torch.int64), encoder_hidden_states=tokens
        ).sample
        posterior = generator.vae.encode(torch.empty(1, 3, 512, 512)).latent_dist
        picture = generator.vae.decode(torch.empty(1, 4, 64, 64)).sample
    assert predicted.shape == latents.shape
    assert posterior.mean.shape == (1, 4, 64, 64)
    assert picture.shape == (1, 3, 512, 512)


def operations(unet, tokens=257, steps=1):
    """TFLOP of so many steps of an image of 512 pixels; a multiplication with addition is two."""
    with FlopCounterMode(display=False) as counted, torch.device("meta"), torch.no_grad():
        condition, t = torch.empty(1, tokens, 768), torch.zeros(1, dtype=torch.int64)
        for _ in range(steps):
            unet(torch.empty(1, 4, 64, 64), t, encoder_hidden_states=condition)
    return counted.get_total_flops() / 1e12


def test_constant_keys_and_values_save_what_the_ledger_says(model):
    step = operations(model.unet)
    with constant_tokens(model.unet):
        saved = 2 * step - operations(model.unet, steps=2)
    assert 19 * saved / (20 * step) == pytest.approx(0.0115, abs=0.0005)


def test_the_plain_unet_needs_the_operations_that_the_ledger_says(monkeypatch):
    """Of the dual-guided one, which attends to 77 tokens of text and 257 of an image."""
    forward = DualTransformer2DModel.forward
    monkeypatch.setattr(
        DualTransformer2DModel,
        "forward",
        lambda self, *given, encoder_attention_mask=None, **more: forward(self, *given, **more),
    )
    with torch.device("meta"):
        dual = UNet2DConditionModel(**full_size_unet_config(), dual_cross_attention=True)
    for module in dual.modules():
        if isinstance(module, DualTransformer2DModel):
            module.condition_lengths = [77, 257]
    plain, both = operations(new_generator().unet), operations(dual, 77 + 257)
    assert (plain, both) == pytest.approx((0.818, 1.203), abs=0.001)
    assert plain / both == pytest.approx(0.68, abs=0.005)


def test_adapters_begin_as_no_change():
    torch.manual_seed(0)
    from boldvision.generators.pretrain import new_unet

    unet = new_unet(4, 8).eval()
    inputs = torch.randn(2, 4, 4, 4), torch.tensor([3, 900])
    tokens = torch.randn(2, 4, 8)
    before = unet(*inputs, encoder_hidden_states=tokens).sample
    add_lora(unet, Lora(rank=2))
    after = unet(*inputs, encoder_hidden_states=tokens).sample
    torch.testing.assert_close(before, after)
