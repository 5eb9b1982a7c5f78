"""Test sets that keep latents: what is stored, and the pictures that are scored of it."""

import json

import h5py
import numpy as np
import pytest
import torch
from decoder_data import (
    PX,
    mean_image_settings,
    reconstruct_arguments,
    train,
    write_model_record,
    write_subject,
)
from scored_study import run, write_window

from boldvision import cli, config
from boldvision.decoders.mean_image import decoder as mean_image
from boldvision.errors import UserError
from boldvision.generators.base import load_vae
from boldvision.generators.decode import decode_latents
from boldvision.hdf5 import open_latents, open_pictures
from boldvision.images import write_images
from boldvision.shipped import shipped

pytestmark = pytest.mark.usefixtures("no_gpu")

LATENT = (4, PX // 8, PX // 8)


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01")


@pytest.fixture(scope="module")
def model(generator, subject, folder):
    train(generator, [subject], folder / "model", steps=3)
    return folder / "model"


def made(generator, subject, model, out, stored, **changes):
    """The file of window main that stage `reconstruct` writes."""
    command = reconstruct_arguments(generator, subject, model, out, stored=stored, **changes)
    assert cli.main(command) == 0
    return out / "main.h5"


def test_latents_are_stored_in_place_of_pictures(generator, subject, model, tmp_path):
    """Decoded, they are the pictures that the decoder makes, but for rounding to float16."""
    direct = made(generator, subject, model, tmp_path / "pictures", "pictures")
    kept = made(generator, subject, model, tmp_path / "latents", "latents")
    with open_latents(kept) as file, open_pictures(direct) as pictures:
        assert file["latents"].shape == (6, *LATENT)
        assert "images" not in file
        for name in ("trial", "image_id"):
            assert np.array_equal(file[name], pictures[name])
        assert dict(file.attrs) == dict(pictures.attrs)
        decoded = decode_latents(load_vae(generator), file["latents"][:])
        assert abs(decoded.astype(int) - pictures["images"][:]).max() <= 1
    with pytest.raises(UserError, match="no dataset `images`"), open_pictures(kept):
        pass


def test_float16_moves_a_picture_by_a_grey_level_at_most():
    """Of the generator that ships, and latents of unit variance when scaled, as it makes them."""
    settings = config.Generator(
        kind="tiny", folder=shipped("boldvision/generators/tiny"), image_px=32, tokens=16, width=32
    )
    vae = load_vae(settings)
    latents = torch.randn((64, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    latents /= vae.config.scaling_factor
    pictures = decode_latents(vae, latents)
    moved = abs(pictures.astype(int) - decode_latents(vae, latents.half().numpy()))
    assert moved.max() <= 1
    assert moved.mean() < 0.01
    assert pictures.std() > 20


class Stub:
    """A decoder with or without latents."""

    label = ""

    def __init__(self, latents=None):
        if latents is not None:
            self.latents = lambda bold, subject, keys: np.full((len(bold), *LATENT), latents)


@pytest.mark.survives(
    "results",
    "A decoder that should have latents has none, or one is too large for float16",
    "The job stops and says what to do; no file is written",
)
@pytest.mark.parametrize(
    ("latents", "message"),
    [(None, "Stub: expected a method latents"), (7e4, "subj01: expected finite latents of less")],
)
def test_wrong_latents_are_refused(subject, tmp_path, monkeypatch, capsys, latents, message):
    monkeypatch.setattr(mean_image, "load", lambda _: Stub(latents))
    (tmp_path / "model").mkdir()
    write_model_record(tmp_path / "model", "mean_image", [])
    command = reconstruct_arguments(
        None,
        subject,
        tmp_path / "model",
        tmp_path / "out",
        run=mean_image_settings(),
        stored="latents",
    )
    assert cli.main(command) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.h5"))


@pytest.fixture
def study(generator, tmp_path):
    """Stimuli, latents of them in two windows, and the pictures that these decode to."""
    random = np.random.default_rng(0)
    image_id = 3 * np.arange(12) + 1
    stimuli = random.integers(0, 256, (12, PX, PX, 3), dtype=np.uint8)
    write_images(tmp_path / "images.h5", image_id, [stimuli], {})
    vae = load_vae(generator)
    for window in ("main", "main+1"):
        latents = random.standard_normal((12, *LATENT)).astype(np.float16)
        pictures = decode_latents(vae, latents, rounding="truncate")
        write_window(tmp_path / "made", window, pictures, image_id)
        write_window(tmp_path / "latents", window, pictures, image_id)
        with h5py.File(tmp_path / "latents" / f"{window}.h5", "a") as file:
            del file["images"]
            file["latents"] = latents
    return tmp_path


def decoding(generator, **changes):
    return json.dumps({"generator": generator.model_dump(), "rounding": "truncate"} | changes)


def outputs(study):
    return [(study / name).read_bytes() for name in ("out.parquet", "out.json")]


@pytest.mark.survives(
    "jobs",
    "A job is killed while it scores pictures of latents",
    "The next one removes the pictures it left, makes them anew, and takes the scores that are "
    "there",
)
def test_latents_are_scored_as_the_pictures_they_decode_to(study, generator, monkeypatch):
    assert run(study, ["pixcorr", "ssim"]) == 0
    expected, left = outputs(study), study / "out.pictures"
    left.mkdir()
    write_window(left, "main+9", np.zeros((2, 4, 4, 3), np.uint8), np.arange(2))
    told = decoding(generator)
    assert run(study, ["pixcorr", "ssim"], made="latents", kept="other", decode=told) == 0
    assert outputs(study) == expected
    assert not left.exists()
    monkeypatch.setattr("boldvision.metrics.scoring._score_role", None)
    assert run(study, ["pixcorr", "ssim"], made="latents", kept="other", decode=told) == 0
    monkeypatch.undo()
    assert (
        run(study, ["pixcorr"], made="latents", decode=decoding(generator, rounding="nearest")) == 0
    )
    assert outputs(study) != expected


def test_few_pictures_are_decoded_at_a_time(study, generator, monkeypatch):
    counts = []

    def counted(vae, latents, *how):
        counts.append(len(latents))
        return decode_latents(vae, latents, *how)

    monkeypatch.setattr("boldvision.generators.decode.decode_latents", counted)
    assert run(study, ["pixcorr"], made="latents", decode=decoding(generator)) == 0
    assert counts == [8, 4, 8, 4]


def test_latents_are_not_scored_without_a_generator(study, generator, capsys):
    assert run(study, ["pixcorr"], made="latents") == 1
    assert "no dataset `images`" in capsys.readouterr().err
    assert run(study, ["pixcorr"], made="made", decode=decoding(generator)) == 1
    assert "no dataset `latents`" in capsys.readouterr().err
    assert not (study / "out.pictures").exists()
