"""A generator's folder is read whole, or named with what is wrong in it."""

import json
import os
import re
import shutil

import pytest
import torch
from decoder_data import write_generator
from diffusers import AutoencoderKL, PNDMScheduler
from safetensors.torch import load_file, save_file

from boldvision import config
from boldvision.errors import UserError
from boldvision.generators import base
from boldvision.generators.base import load_generator
from boldvision.generators.pretrain import new_scheduler
from boldvision.targets.base import Frozen
from boldvision.targets.vae import network
from boldvision.targets.vae.settings import Target

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(folder):
    return write_generator(folder / "whole")


@pytest.fixture
def copy(whole, tmp_path):
    """Settings of a copy that can be damaged, and its folder."""
    shutil.copytree(whole.folder, tmp_path / "copy")
    return whole.model_copy(update={"folder": str(tmp_path / "copy")}), tmp_path / "copy"


@pytest.mark.survives(
    "files",
    "A file of the generator is cut, empty, missing, a web page or of another kind",
    "The stage stops, names the file and says to fetch the generator anew",
)
@pytest.mark.parametrize(
    "file",
    [f"image_unet/{WEIGHTS}", f"vae/{WEIGHTS}", "vae/config.json",
     "image_unet/config.json", "scheduler/scheduler_config.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["cut", "empty", "page", "missing", "list"])
def test_a_damaged_file_is_named(copy, file, damage):
    settings, folder = copy
    path = folder / file
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_text({"empty": "", "page": "<html>Sign in</html>", "list": "[]"}[damage])
    with pytest.raises(UserError, match=rf"{file}: expected .*; remove the generator's folder"):
        load_generator(settings)


def rewritten(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.survives(
    "results",
    "A network of the generator lacks parameters, or has others than its sizes say",
    "It is refused; diffusers would draw the missing ones at random",
)
@pytest.mark.parametrize(
    ("part", "name"), [("image_unet", "conv_in.weight"), ("vae", "quant_conv.bias")]
)
def test_missing_and_unknown_parameters_are_refused(copy, part, name):
    settings, folder = copy
    path = folder / part / WEIGHTS
    rewritten(path, lambda tensors: tensors.update(renamed=tensors[name].clone()))
    with pytest.raises(UserError, match=rf"{part}/{WEIGHTS}: .* 0 missing and 1 unknown, such as"):
        load_generator(settings)
    rewritten(path, lambda tensors: (tensors.pop("renamed"), tensors.pop(name)))
    with pytest.raises(UserError, match=rf"1 missing and 0 unknown, such as {name}; remove"):
        load_generator(settings)


def test_sizes_that_are_not_those_of_the_file_are_refused(copy):
    settings, folder = copy
    state(folder / "image_unet" / "config.json", block_out_channels=[32, 72])
    with pytest.raises(UserError, match=rf"image_unet/{WEIGHTS}: expected the parameters"):
        load_generator(settings)


SILENT = object()


def state(file, **changes):
    """Change what a part's configuration says; it no longer says what is `SILENT`."""
    stated = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in stated.items() if v is not SILENT}))


@pytest.mark.survives(
    "results",
    "A generator's noise schedule is another one, or its file, written for another sampler, lacks "
    "a key",
    "It is refused: file, key, what was expected and found; diffusers would take its default, such "
    "as to clip latents",
)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_class_name", "PNDMScheduler"),
        ("_class_name", SILENT),
        ("num_train_timesteps", 500),
        ("beta_start", 0.0001),
        ("beta_start", SILENT),
        ("beta_end", 0.02),
        ("beta_end", SILENT),
        ("beta_schedule", "linear"),
        ("beta_schedule", SILENT),
        ("trained_betas", [0.1, 0.2]),
        ("clip_sample", True),
        ("clip_sample", SILENT),
        ("set_alpha_to_one", True),
        ("set_alpha_to_one", SILENT),
        ("steps_offset", 0),
        ("steps_offset", SILENT),
        ("prediction_type", "v_prediction"),
        ("thresholding", True),
        ("timestep_spacing", "trailing"),
        ("rescale_betas_zero_snr", True),
    ],
)
def test_every_property_of_the_noise_schedule_is_checked(copy, key, value):
    settings, folder = copy
    state(folder / "scheduler" / "scheduler_config.json", **{key: value})
    there = "nothing, which diffusers reads as" if value is SILENT else re.escape(json.dumps(value))
    with pytest.raises(
        UserError,
        match=rf"scheduler_config\.json: {key}: expected .*, found {there}.*write what was",
    ):
        load_generator(settings)


def test_a_file_for_pndm_is_refused_whatever_it_is_called(copy):
    """As diffusers' script that converts Versatile Diffusion writes it by default."""
    settings, folder = copy
    file = folder / "scheduler" / "scheduler_config.json"
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    PNDMScheduler(**betas, skip_prk_steps=True, steps_offset=1).save_pretrained(file.parent)
    with pytest.raises(
        UserError,
        match=r'json: _class_name: expected "DDIMScheduler", found "PNDMScheduler"; '
        r"clip_sample: expected false, found nothing, which diffusers reads as true\. If the file",
    ):
        load_generator(settings)
    state(file, _class_name="DDIMScheduler", clip_sample=False)
    assert not load_generator(settings).scheduler.config.clip_sample


def test_what_older_files_do_not_say_is_right_by_default(copy):
    """Keys that came to diffusers after Versatile Diffusion had been published."""
    settings, folder = copy
    later = ("prediction_type", "thresholding", "timestep_spacing", "rescale_betas_zero_snr")
    file = folder / "scheduler" / "scheduler_config.json"
    expected = dict(load_generator(settings).scheduler.config)
    state(file, **dict.fromkeys(later, SILENT), dynamic_thresholding_ratio=0.9)
    found = dict(load_generator(settings).scheduler.config)
    assert {key: found[key] for key in later} == {key: expected[key] for key in later}


@pytest.mark.survives(
    "results",
    "A network of a generator is of another size than the configuration, or the other, says",
    "It is refused before its parameters are read: file, key, what was expected and found",
)
@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("image_unet", "_class_name", "UNetFlatConditionModel"),
        ("image_unet", "in_channels", 8),
        ("image_unet", "out_channels", 8),
        ("image_unet", "sample_size", 4),
        ("image_unet", "cross_attention_dim", 768),
        ("image_unet", "cross_attention_dim", SILENT),
        ("vae", "_class_name", "VQModel"),
        ("vae", "in_channels", 1),
        ("vae", "out_channels", 4),
        ("vae", "sample_size", 32),
        ("vae", "scaling_factor", 0),
        ("vae", "scaling_factor", SILENT),
    ],
)
def test_sizes_of_a_tiny_generator_are_checked(copy, part, key, value):
    settings, folder = copy
    state(folder / part / "config.json", **{key: value})
    with pytest.raises(
        UserError, match=rf"{part}/config\.json: {key}: expected .*, found .*Correct"
    ):
        load_generator(settings)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("tokens", 256, 257),
        ("width", 1024, 768),
        ("image_px", 256, 512),
    ],
)
def test_tokens_and_pixels_are_checked(copy, monkeypatch, key, value, expected):
    full = {"kind": "versatile_diffusion", "image_px": 512, "tokens": 257, "width": 768}
    settings = config.Generator(**copy[0].model_dump() | full | {key: value})
    monkeypatch.setattr(base, "load_vae", lambda settings: None)
    with pytest.raises(
        UserError,
        match=rf"is used with {key} {expected}, the .* says {value}\. Correct .*\.{key}`",
    ):
        load_generator(settings)


UNET = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.8.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}
VAE = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.8.0",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
"""As diffusers wrote them when Versatile Diffusion was published."""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Settings of a folder with configurations and without parameters, and what reads each part."""
    for part in ("image_unet", "vae", "scheduler"):
        (tmp_path / part).mkdir()
    (tmp_path / "image_unet/config.json").write_text(json.dumps(UNET))
    (tmp_path / "vae/config.json").write_text(json.dumps(VAE))
    new_scheduler().save_pretrained(tmp_path / "scheduler")
    settings = config.Generator(
        kind="versatile_diffusion", folder=str(tmp_path), image_px=512, tokens=257, width=768
    )

    def read(part):
        if part == "vae":
            return base.load_vae(settings)
        monkeypatch.setattr(base, "load_vae", lambda settings: None)
        return load_generator(settings)

    return tmp_path, read


@pytest.mark.parametrize("part", ["image_unet", "vae"])
def test_the_published_sizes_are_accepted(published, part):
    _, read = published
    with pytest.raises(UserError, match=rf"{part}/{WEIGHTS}: expected the parameters"):
        read(part)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        *[("image_unet", key, value) for key, value in {
            "in_channels": 9, "out_channels": 8, "block_out_channels": [320, 640, 1280],
            "layers_per_block": 3, "cross_attention_dim": 1024, "attention_head_dim": 4,
            "down_block_types": ["DownBlock2D"] * 4, "up_block_types": ["UpBlock2D"] * 4,
            "norm_num_groups": 16, "norm_eps": 1e-6, "act_fn": "gelu", "freq_shift": 1,
            "flip_sin_to_cos": False, "use_linear_projection": True, "dual_cross_attention": True,
            "only_cross_attention": True, "resnet_time_scale_shift": "scale_shift",
        }.items()],
        *[("vae", key, value) for key, value in {
            "in_channels": 1, "out_channels": 4, "block_out_channels": [128, 256, 512],
            "layers_per_block": 3, "latent_channels": 16, "norm_num_groups": 16, "act_fn": "gelu",
            "down_block_types": ["A"] * 4, "up_block_types": ["A"] * 4, "scaling_factor": 0.13025,
            "shift_factor": 0.1, "use_quant_conv": False, "latents_mean": [0, 0, 0, 0],
        }.items()],
        ("image_unet", "cross_attention_dim", SILENT),
        ("vae", "block_out_channels", SILENT),
    ],
)  # fmt: skip
def test_every_size_of_versatile_diffusion_is_checked(published, part, key, value):
    folder, read = published
    state(folder / part / "config.json", **{key: value})
    with pytest.raises(
        UserError, match=rf"{part}/config\.json: {key}: expected .*, found .*Correct"
    ):
        read(part)


def test_a_vae_is_read_alone(copy):
    """Latents of images do not need 3.4 GB of a U-Net."""
    settings, folder = copy
    (folder / "image_unet" / WEIGHTS).write_text("")
    whole = {name: tensor.clone() for name, tensor in load_file(folder / "vae" / WEIGHTS).items()}
    vae = base.load_vae(settings)
    assert all(torch.equal(vae.state_dict()[name], tensor) for name, tensor in whole.items())
    assert not any(parameter.requires_grad for parameter in vae.parameters())
    assert network.load(Target(kind="vae", generator="tiny"), Frozen({"tiny": settings}, {}, "cpu"))


def test_names_of_older_diffusers_are_known(copy):
    """Versatile Diffusion's VAE was published with them."""
    settings, folder = copy
    old = AutoencoderKL(
        block_out_channels=(8, 8, 8, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=settings.image_px,
    )
    old.save_pretrained(folder / "vae")
    names = {
        ".to_q.": ".query.",
        ".to_k.": ".key.",
        ".to_v.": ".value.",
        ".to_out.0.": ".proj_attn.",
    }

    def rename(tensors):
        for name in list(tensors):
            for new, former in names.items():
                if new in name:
                    tensors[name.replace(new, former)] = tensors.pop(name)

    rewritten(folder / "vae" / WEIGHTS, rename)
    assert any("proj_attn" in name for name in load_file(folder / "vae" / WEIGHTS))
    found = load_generator(settings).vae.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in old.state_dict().items())
