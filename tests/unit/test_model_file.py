"""A model's folder is read as it was written, or not at all."""

import os

import pytest
import torch
from decoder_data import (
    PX,
    load_model,
    mean_image_settings,
    record_of,
    run_settings,
    train,
    write_model,
    write_subject,
)
from safetensors.torch import save_file

from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.record import read_model_record, stage_records
from boldvision.errors import UserError
from boldvision.files import sha256

pytestmark = pytest.mark.usefixtures("no_gpu")

FILES = ("model.safetensors", "training.json")


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path, {"mean_image": torch.rand(3, PX, PX)}, {"trials": 3}, "mean_image")
    return tmp_path


def test_what_is_written_is_read(model):
    parameters, record = read_artefact(model / "train")
    assert parameters["mean_image"].shape == (3, PX, PX)
    assert record["trials"] == 3
    assert stage_records(model) == {"train": record}
    assert {path.name for path in (model / "train").iterdir()} == set(FILES)
    listed = read_model_record(model)
    assert listed["decoder"] == "mean_image"
    assert listed["artefacts"] == {
        f"train/{name}": sha256(model / "train" / name) for name in FILES
    }


@pytest.mark.survives(
    "files",
    "A file of a trained model is cut, empty, missing or a web page",
    "Reconstruction stops, names the file and says to train the model anew",
)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "page", "missing", "another"])
def test_a_damaged_model_is_named(model, file, damage):
    path = model / "train" / file
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 3)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_text({"empty": "", "page": "<html>Sign in</html>", "another": "[]"}[damage])
    with pytest.raises(UserError, match=rf"{file}: expected .*; remove its folder and run again"):
        load_model(model, mean_image_settings())


@pytest.mark.survives(
    "files",
    "One bit of a trained model's parameters has changed",
    "The model is refused: its sha256 is not the one in training.json",
)
def test_a_changed_parameter_is_seen(model):
    path = model / "train" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors: expected sha256 \w{64}, as training"):
        read_artefact(model / "train")


def test_a_mean_image_of_another_size_is_refused(model):
    with pytest.raises(UserError, match="names or shapes differ, as of mean_image"):
        load_model(model, mean_image_settings(PX + 1))


def test_dynadiff_needs_its_own_record(generator, folder, model):
    with pytest.raises(UserError, match=r"training.json: expected the record of a Dynadiff model"):
        load_model(model, run_settings(), generator)


@pytest.mark.survives(
    "files",
    "The model that a run starts from was changed after its training",
    "The run stops before its first step and names the file",
)
def test_a_start_that_was_changed_is_refused(generator, folder, capsys):
    subjects = [write_subject(folder, name) for name in ("subj01", "subj02")]
    joint, changes = folder / "joint", {"pretrained": {"run": "joint", "subjects": ["subj02"]}}
    train(generator, subjects[1:], joint, steps=1)
    record = record_of(joint)
    save_file({"other": torch.ones(1)}, joint / "train" / "model.safetensors")
    with pytest.raises(AssertionError):
        train(generator, subjects[:1], folder / "out", pretrained=joint, changes=changes)
    assert f"model.safetensors: expected sha256 {record['sha256']}" in capsys.readouterr().err
