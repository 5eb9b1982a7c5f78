"""From latents to pictures, as the paper says and as the released code does."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from decoder_data import N_TR, load_model, run_settings, train, write_subject

from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.decoders.dynadiff.settings import Reconstruction
from boldvision.generators.base import load_generator, load_vae
from boldvision.generators.decode import decode_latents
from boldvision.generators.images import to_uint8
from boldvision.shipped import ROOT

pytestmark = pytest.mark.usefixtures("no_gpu")

RELEASED = {
    "sampler": "ddpm",
    "steps": 20,
    "initial_noise": "shared",
    "guidance_scale": 3.5,
    "precision": "no",
    "rounding": "truncate",
    "blur_faces": True,
}
KEYS = [4, 9, 2]


def test_pixels_are_rounded_or_cut():
    pictures = torch.linspace(-1.2, 1.2, 2002).view(1, 1, 1, -1).expand(1, 3, 1, 2002)
    unit = np.clip(pictures.double().numpy() / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1)
    away = abs(unit * 255 - np.round(unit * 255)) > 1e-4  # float32 decides at whole numbers
    cut, nearest = (to_uint8(pictures, rounding) for rounding in ("truncate", "nearest"))
    assert (cut == np.floor(unit * 255))[away].all()
    assert (nearest == np.round(unit * 255)).mean() > 0.999
    assert 0.4 < (nearest != cut).mean() < 0.5


@pytest.fixture(scope="module")
def decoder(folder, generator):
    """Makes the decoder of a trained model, with settings of its reconstruction."""
    train(generator, [write_subject(folder, "subj01")], folder / "model", steps=3)

    def made(**settings):
        run = run_settings(changes={"reconstruction": {"steps": 3} | settings}, steps=3)
        return load_model(folder / "model", run, generator)

    return made


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).standard_normal((len(KEYS), N_TR, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("settings", "levels"), [({}, 1), (RELEASED, 1), ({"precision": "bf16"}, 10)]
)
def test_latents_and_pictures_are_of_one_sampling(decoder, generator, windows, settings, levels):
    pictures = decoder(**settings).reconstruct(windows, "subj01", KEYS)
    latents = decoder(**settings).latents(windows, "subj01", KEYS)
    assert (latents.shape, latents.dtype) == ((len(KEYS), 4, 2, 2), np.float16)
    made = {"precision": "no", "rounding": "nearest", "blur_faces": False} | settings
    decoded = decode_latents(
        load_vae(generator), latents, made["precision"], made["rounding"], made["blur_faces"]
    )
    assert decoded.dtype == pictures.dtype == np.uint8
    difference = abs(decoded.astype(int) - pictures)  # latents are float16 between
    assert difference.max() <= levels
    assert difference.mean() < 1


def test_the_scale_of_latents_is_the_encoder_s(decoder, generator, windows):
    """Decoded without a factor, as posteriors in files of targets are."""
    latents = decoder().latents(windows, "subj01", KEYS)
    vae = load_generator(generator).vae
    with torch.no_grad():
        picture = vae.decode(torch.from_numpy(latents).float()).sample
    expected = decoder().reconstruct(windows, "subj01", KEYS)
    assert abs(to_uint8(picture).astype(int) - expected).max() <= 2


def test_few_pictures_are_decoded_at_a_time(generator, monkeypatch):
    """A batch of 16 at 512 pixels would need more than the sampling of it."""
    vae, latents, sizes = load_vae(generator), torch.randn(5, 4, 2, 2), []
    together = decode_latents(vae, latents)
    monkeypatch.setattr("boldvision.generators.decode.PLACES", 11)
    vae.post_quant_conv.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    apart = decode_latents(vae, latents)
    assert sizes == [2, 2, 1]
    assert abs(apart.astype(int) - together).max() <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": "ddpm"},
        {"initial_noise": "shared"},
        {"rounding": "truncate"},
        {"precision": "bf16"},
    ],
)
def test_every_setting_changes_the_pictures(decoder, windows, change):
    default, changed = (
        decoder(**settings).reconstruct(windows, "subj01", KEYS) for settings in ({}, change)
    )
    assert (default != changed).any()


def test_pictures_do_not_depend_on_the_order_of_the_released_code(decoder, windows):
    together = decoder(**RELEASED).reconstruct(windows, "subj01", KEYS)
    backwards = decoder(**RELEASED).reconstruct(windows[::-1].copy(), "subj01", KEYS[::-1])[::-1]
    assert abs(together.astype(int) - backwards).max() <= 1


def test_faces_are_blurred_before_pictures_are_kept_if_asked(decoder, windows, monkeypatch):
    monkeypatch.setattr("boldvision.generators.decode.blur_faces", lambda images: 255 - images)
    plain, blurred = (
        decoder(blur_faces=blur).reconstruct(windows, "subj01", KEYS) for blur in (False, True)
    )
    assert (blurred == 255 - plain).all()


def test_attention_is_fast_in_the_precision_of_the_run(decoder, windows, monkeypatch):
    asked = []

    def fast(device, precision):
        asked.append((device, precision))
        return nullcontext()

    monkeypatch.setattr("boldvision.decoders.dynadiff.decoder.fast_attention", fast)
    decoder(precision="bf16").latents(windows, "subj01", KEYS)
    assert asked == [("cpu", "bf16")]


def test_the_default_is_the_paper_s():
    settings = Reconstruction()
    assert (settings.sampler, settings.steps, settings.guidance_scale) == ("ddim", 20, 3.0)
    assert (settings.initial_noise, settings.rounding, settings.blur_faces) == (
        "per_image", "nearest", False,
    )  # fmt: skip


@pytest.mark.parametrize("files", [["config.yaml"], ["config.yaml", "nsd.yaml"]])
@pytest.mark.parametrize("name", ["dynadiff_released", "dynadiff_official"])
def test_the_released_protocol_is_the_released_code_s(files, name):
    config = load_config(read_values([str(ROOT / "config" / file) for file in files]))
    run = config.run(name)
    assert run.reconstruction.model_dump(exclude={"batch_size"}) == RELEASED
    assert run.training.unconditional == "zeros"
    assert config.preprocessing[run.preprocessing].detrend == "linear"
    assert config.run("dynadiff").reconstruction.sampler == "ddim"
