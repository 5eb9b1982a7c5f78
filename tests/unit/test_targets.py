"""Targets: what frozen networks make of images, such as the posteriors of a VAE."""

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from decoder_data import write_generator

from boldvision import cli
from boldvision.errors import UserError
from boldvision.generators.base import load_generator
from boldvision.generators.images import to_tensor, to_uint8
from boldvision.targets import stage
from boldvision.targets.base import TargetFile

IDS = np.array([3, 8, 20, 21, 50])


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Generator, pictures and the file that stage `target` writes of them."""
    folder = tmp_path_factory.mktemp("latents")
    generator = write_generator(folder / "generator")
    pictures = np.random.default_rng(0).integers(0, 256, (len(IDS), 20, 20, 3), np.uint8)
    with h5py.File(folder / "images.h5", "w") as file:
        file["images"], file["image_id"] = pictures, IDS
    settings = {
        "target": {"kind": "vae", "generator": "tiny"},
        "generators": {"tiny": generator.model_dump()},
    }
    arguments = ["--settings", json.dumps(settings), "--images", str(folder / "images.h5")]
    out = folder / "latents.h5"
    assert cli.main(["target", *arguments, "--out", str(out), "--batch-size", "2"]) == 0
    return generator, pictures, out


def test_the_file_holds_the_posterior_of_every_image(encoded):
    settings, pictures, out = encoded
    target = TargetFile(out)
    assert target.image_id.tolist() == IDS.tolist()
    assert target["mean"].shape == target["logvar"].shape == (len(IDS), 4, 2, 2)
    assert target["mean"].dtype == target["logvar"].dtype == np.float16
    vae = load_generator(settings).vae
    with torch.no_grad():
        posterior = vae.encode(to_tensor(pictures, settings.image_px)).latent_dist
    np.testing.assert_allclose(target["mean"], posterior.mean, atol=2e-3)
    np.testing.assert_allclose(target["logvar"], posterior.logvar, atol=2e-3)


def test_few_pictures_are_in_memory_at_a_time(tmp_path, monkeypatch):
    seen = []

    def network(stimuli):
        seen.append(len(stimuli.pictures))
        return {"mean": stimuli.pictures.mean(axis=(1, 2)).astype(np.float16)}

    monkeypatch.setattr(stage.plugins, "target_settings", lambda _: SimpleNamespace(kind="any"))
    monkeypatch.setattr(stage.plugins, "defined", lambda *_: lambda *_: network)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["images"] = np.zeros((20, 8, 8, 3), np.uint8)
        file["image_id"] = np.arange(1, 21)
    settings = json.dumps({"target": {}, "generators": {}})
    places = ["--images", str(tmp_path / "images.h5"), "--out", str(tmp_path / "out.h5")]
    stage.main(["--settings", settings, *places])
    assert seen == [8, 8, 4]


def test_processes_share_the_memory_of_a_file(encoded):
    target = TargetFile(encoded[2])
    assert all(isinstance(values, np.memmap) for values in target.values.values())
    assert str(encoded[2]) in Path("/proc/self/maps").read_text()


def test_rows_follow_the_asked_ids(encoded):
    target = TargetFile(encoded[2])
    asked = np.array([50, 3, 21, 3])
    assert target.image_id[target.rows(asked)].tolist() == asked.tolist()


@pytest.mark.parametrize("missing", [1, 9, 51])
def test_a_missing_image_is_named(encoded, missing):
    target = TargetFile(encoded[2])
    with pytest.raises(UserError, match=rf"latents.h5: .*\[{missing}\].*Run the stage `target`"):
        target.rows(np.array([3, missing, 50]))


@pytest.mark.survives(
    "files",
    "A file of targets, such as latents, is cut, has flipped bits, or is of another kind",
    "It is read in full and compared with the sha256 in it; training does not begin",
)
@pytest.mark.parametrize(
    "change", ["bit", "cut", "html", "no digest", "images", "elsewhere", "pieces", "gone"]
)
def test_targets_that_are_not(encoded, tmp_path, change):
    path, content = tmp_path / "latents.h5", bytearray(encoded[2].read_bytes())
    with h5py.File(encoded[2]) as file:
        place = file["logvar"].id.get_offset()
    if change == "bit":
        content[place + 3] ^= 1
    if change == "cut":
        content = content[: place + 5]
    if change != "gone":
        path.write_bytes(b"<html>" if change == "html" else content)
    if change == "images":
        path.write_bytes((encoded[2].parent / "images.h5").read_bytes())
    if change in ("no digest", "elsewhere", "pieces"):
        with h5py.File(path, "a") as file:
            mean = file["mean"][:]
            if change == "no digest":
                del file.attrs["sha256"]
            else:
                del file["mean"]
            if change == "elsewhere":
                file["mean"] = h5py.ExternalLink(encoded[2], "mean")
            if change == "pieces":
                file.create_dataset("mean", data=mean, chunks=True)
    with pytest.raises(UserError, match=r"latents\.h5: expected what a frozen .*, found"):
        TargetFile(path)


def test_a_target_of_another_kind_is_named(encoded):
    with pytest.raises(
        UserError, match=r"latents\.h5: expected 'clip', found logvar, mean: the run"
    ):
        TargetFile(encoded[2])["clip"]


def test_a_generator_without_a_part_is_refused(encoded, tmp_path):
    settings = json.loads(encoded[0].model_dump_json()) | {"folder": str(tmp_path)}
    with pytest.raises(UserError, match="found no image_unet"):
        load_generator(type(encoded[0])(**settings))


def test_tokens_of_another_width_are_refused(encoded):
    with pytest.raises(UserError, match=r"cross_attention_dim: expected 9, found 8"):
        load_generator(encoded[0].model_copy(update={"width": 9}))


def test_pictures_keep_their_values():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), np.uint8)
    tensor = to_tensor(pictures, 6)
    assert tensor.shape == (2, 3, 6, 6)
    assert to_tensor(np.array([[[[0, 255, 51]]]], np.uint8), 1).ravel().tolist() == pytest.approx(
        [-1, 1, -0.6]
    )
    assert tensor.abs().max() <= 1
    assert np.array_equal(to_uint8(tensor), pictures)
    assert to_uint8(torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1)).ravel().tolist() == [0, 255]
