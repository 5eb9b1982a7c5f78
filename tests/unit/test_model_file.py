"""A model's folder is read as it was written, or not at all."""

import json
import os

import pytest
import torch
from decoder_data import PX, run_settings, train, write_subject
from safetensors.torch import save_file

from boldvision.decoders.dynadiff import decoder as dynadiff
from boldvision.decoders.mean_image import decoder as mean_image
from boldvision.decoders.model_file import read_model, write_model
from boldvision.decoders.train import run_settings as validated
from boldvision.errors import UserError

pytestmark = pytest.mark.usefixtures("no_gpu")

FILES = ("model.safetensors", "training.json")


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path, {"mean_image": torch.rand(3, PX, PX)}, {"trials": 3})
    return tmp_path


def mean_image_run(px=PX):
    run = {"decoder": "mean_image", "split": "standard", "preprocessing": "p", "image_px": px}
    return validated({"run": run})[0]


def test_what_is_written_is_read(model):
    parameters, record = read_model(model)
    assert parameters["mean_image"].shape == (3, PX, PX)
    assert record["trials"] == 3
    assert sorted(path.name for path in model.iterdir()) == sorted(FILES)


@pytest.mark.survives(
    "files",
    "A file of a trained model is cut, empty, missing or a web page",
    "Reconstruction stops, names the file and says to train the model anew",
)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "page", "missing", "another"])
def test_a_damaged_model_is_named(model, file, damage):
    path = model / file
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 3)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_text({"empty": "", "page": "<html>Sign in</html>", "another": "[]"}[damage])
    with pytest.raises(UserError, match=rf"{file}: expected .*; remove its folder and run again"):
        mean_image.load(mean_image_run(), None, model, 0, "cpu")


@pytest.mark.survives(
    "files",
    "One bit of a trained model's parameters has changed",
    "The model is refused: its sha256 is not the one in training.json",
)
def test_a_changed_parameter_is_seen(model):
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors: expected sha256 \w{64}, as training"):
        read_model(model)


def test_a_mean_image_of_another_size_is_refused(model):
    with pytest.raises(UserError, match="names or shapes differ, as of mean_image"):
        mean_image.load(mean_image_run(PX + 1), None, model, 0, "cpu")


def test_dynadiff_needs_its_own_record(generator, folder, model):
    run, settings = validated({"run": run_settings(), "generator": generator.model_dump()})
    with pytest.raises(UserError, match=r"training.json: expected the record of a Dynadiff model"):
        dynadiff.load(run, settings, model, 0, "cpu")


@pytest.mark.survives(
    "files",
    "The model that a run starts from was changed after its training",
    "The run stops before its first step and names the file",
)
def test_a_start_that_was_changed_is_refused(generator, folder, capsys):
    subjects = [write_subject(folder, name) for name in ("subj01", "subj02")]
    joint, changes = folder / "joint", {"pretrained": {"run": "joint", "subjects": ["subj02"]}}
    train(generator, subjects[1:], joint, steps=1)
    record = json.loads((joint / "training.json").read_text())
    save_file({"other": torch.ones(1)}, joint / "model.safetensors")
    with pytest.raises(AssertionError):
        train(generator, subjects[:1], folder / "out", pretrained=joint, changes=changes)
    assert f"model.safetensors: expected sha256 {record['sha256']}" in capsys.readouterr().err
