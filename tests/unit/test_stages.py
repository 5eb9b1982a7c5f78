"""Decoders of several stages: what each is told, where it goes on, what is refused."""

import copy
import json
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from config_data import values_of
from decoder_data import NSD_PREP, WINDOW, data_arguments, reconstruct_arguments, write_subject

from boldvision import cli, plugins
from boldvision.config.load import load_config
from boldvision.decoders.record import read_model_record
from boldvision.errors import UserError
from boldvision.hdf5 import write_text
from boldvision.jobs import Jobs
from boldvision.shipped import ROOT
from boldvision.targets.base import digest

DECODER = {
    "settings.py": """
from typing import ClassVar, Literal
from pydantic import Field
from boldvision.config.runs import BaseRun, Reconstruction, Training
from boldvision.config.section import Section

class Fit(Section):
    alpha: float

class Pictures(Reconstruction):
    strength: float

class Run(BaseRun):
    decoder: Literal["toy"]
    fit: Fit
    prior: Training
    reconstruction: Pictures
    reads: ClassVar = ("targets",)

    def target_names(self):
        return ("vae",)

    def generator_names(self):
        return ("tiny",)

    def stage_targets(self, stage):
        return () if stage == "low" else ("vae",)

    def stage_generators(self, stage):
        return ("tiny",) if stage == "fit" else ()
""",
    "stages.py": """
STAGES = {"fit": "first", "low": "by itself", "prior": "of the first"}
AFTER = {"low": [], "prior": ["fit"]}
""",
    "stage": """
import torch
from boldvision.decoders.artefact import write_artefact

def main(job):
    own = getattr(job.run, "STAGE", None)
    write_artefact(job.out, {"seed": torch.tensor(job.seed)}, {"own": str(own)})
    (job.out / "where").write_text(job.checkpoints.name)
""",
    "decoder.py": """
import os
import numpy as np
from boldvision.targets.base import TargetFile

class Toy:
    label = ""
    def __init__(self, model):
        self.value = TargetFile(model.data.targets["vae"])["mean"].mean()
        self.left = int(os.environ.get("TOY_BATCHES", 1000))
    def reconstruct(self, windows, subject, keys):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        pictures = np.zeros((len(windows), 2, 2, 3), np.uint8)
        pictures[:, 0] = 100 + 10 * self.value
        return pictures

def load(model):
    return Toy(model)
""",
    "cost.py": "",
    "rules.smk": "",
    "runs.yaml": """
miniature:
  toy:
    decoder: toy
    split: standard
    preprocessing: nsd_prep
    fit: {alpha: 1.0}
    prior: {learning_rate: 0.1, steps: 3}
    reconstruction: {strength: 0.5}
  toy_strong: {base: toy, fit: {alpha: 2.0}}
real:
  toy: {fit: {alpha: 3.0}}
  toy_strong: {}
""",
}
MODEL = SimpleNamespace(run="toy", subjects="subj01", window="main", seed="0")


@pytest.fixture
def place(tmp_path):
    """The folder of the decoder `toy`, in a plug-in."""
    folder = tmp_path / "mine" / "decoders" / "toy"
    folder.mkdir(parents=True)
    for name, text in DECODER.items():
        if name != "stage":
            (folder / name).write_text(text)
    for stage in ("fit", "low", "prior"):
        (folder / f"{stage}.py").write_text(DECODER["stage"].replace("STAGE", stage))
    yield folder
    plugins.use([])
    _forget()


def _forget():
    """Another test has another decoder of that name."""
    for name in [name for name in sys.modules if name.startswith("boldvision.decoders.toy")]:
        del sys.modules[name]


def jobs(place, runs=None):
    values = copy.deepcopy(values_of()) | {"plugins": [str(place.parents[1])]}
    values["runs"] = runs or {}
    return Jobs(load_config(values))


@pytest.fixture
def train(place, tmp_path):
    """Run a stage as its rule does; the folder that it makes."""
    data = write_subject(tmp_path, "subj01")

    def run(stage, runs=None, seed=0):
        told, model = jobs(place, runs), tmp_path / "model"
        settings = json.loads(told.stage_settings(stage)(MODEL))
        arguments = data_arguments(None, [data], settings["run"], seed, window=WINDOW)
        job = ["--job", told.stage_job(MODEL)]
        assert cli.main([f"toy.{stage}", *arguments, *job, "--out", str(model / stage)]) == 0
        return model / stage

    run.data = data
    return run


def test_a_stage_is_told_its_own_settings_and_reruns_for_no_other(place):
    before = jobs(place)
    after = jobs(place, {"toy": {"prior": {"learning_rate": 0.2}}})
    same = {s: before.stage_settings(s)(MODEL) == after.stage_settings(s)(MODEL)
            for s in ("fit", "low", "prior")}  # fmt: skip
    assert same == {"fit": True, "low": True, "prior": False}
    slower = jobs(place, {"toy": {"prior": {"device_batch_size": 1}}})
    assert before.stage_settings("prior")(MODEL) == slower.stage_settings("prior")(MODEL)


def test_a_stage_has_the_targets_and_generators_that_it_uses(place):
    told = jobs(place)
    for stage, targets, generators in [("fit", 1, 1), ("low", 0, 0), ("prior", 1, 0)]:
        assert len(told.stage_targets(stage)(MODEL)) == targets
        assert len(json.loads(told.stage_settings(stage)(MODEL))["generators"]) == generators
    assert len(told.targets(MODEL)) == len(told.generators(MODEL)) - 1 == 1


def test_a_stage_that_reads_no_target_does_without(train):
    train.data.targets.clear()
    train("low")


def test_a_run_is_whole_in_every_stage(train):
    assert "alpha=1.0" in (train("fit") / "training.json").read_text()
    told = json.loads(
        (train("prior", {"toy": {"prior": {"log_every": 7}}}) / "training.json").read_text()
    )
    assert "learning_rate=0.1" in told["own"]
    assert "log_every=7" in told["own"]


@pytest.mark.survives(
    "results",
    "A stage is killed after it wrote a file, and goes on with settings that make no such file",
    "What it left is removed: the model has what the last settings make",
)
def test_files_of_a_killed_stage_are_no_part_of_the_next(train, tmp_path):
    left = tmp_path / "model" / "fit.checkpoint" / "out" / "adapter.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    made = {path.name for path in train("fit").iterdir()}
    assert made == {"model.safetensors", "training.json", "where"}


def test_a_stage_goes_on_unless_one_that_it_reads_has_changed(train):
    def keys():
        return {stage: (train(stage) / "where").read_text() for stage in ("low", "prior")}

    train("fit")
    before = keys()
    assert keys() == before
    train("fit", seed=1)
    after = keys()
    assert {stage: after[stage] == before[stage] for stage in after} == {
        "low": True,
        "prior": False,
    }


@pytest.mark.survives(
    "results",
    "A stage of another model lies in a model's folder, copied there by hand",
    "Refused before pictures are made; the file is named",
)
def test_a_stage_of_another_model_is_not_read(train, tmp_path):
    for stage in ("fit", "low", "prior"):
        train(stage)
    model = tmp_path / "model"
    listed = (model / "model.json").read_bytes()
    read_model_record(model)
    train("fit", seed=1)
    assert not (model / "model.json").exists()
    (model / "model.json").write_bytes(listed)
    with pytest.raises(UserError, match=r"fit/training\.json: expected the file that model\.json"):
        read_model_record(model)


@pytest.mark.survives(
    "jobs",
    "Stages of a model that do not read each other end in another order than they are named in",
    "The model is listed when all are there, and not before",
)
def test_stages_may_end_in_any_order(train, tmp_path, capsys):
    model = tmp_path / "model"
    told = ["model", "--decoder", "toy", "--model", str(model)]
    train("fit")
    train("prior")
    assert cli.main(told) == 1
    assert (
        "expected a folder of each stage, fit, low, prior, found no low" in capsys.readouterr().err
    )
    assert not (model / "model.json").exists()
    train("low")
    assert cli.main(told) == 0
    listed = read_model_record(model)["artefacts"]
    assert {name.partition("/")[0] for name in listed} == {"fit", "low", "prior"}


@pytest.mark.survives(
    "results",
    "Reconstruction that reads a target is killed, and the target is another when it goes on",
    "Pictures of the old one are not kept",
)
def test_pictures_of_another_target_are_not_kept(train, tmp_path, monkeypatch):
    for stage in ("fit", "low", "prior"):
        train(stage)
    run = plugins.named("decoders", {}, simulated=True).settings["toy"]
    windows = {"a": WINDOW, "b": WINDOW | {"start_s": 4.0}}
    model, out = tmp_path / "model", tmp_path / "pictures"
    command = reconstruct_arguments(None, train.data, model, out, windows, run=run)
    monkeypatch.setenv("TOY_BATCHES", "1")
    with pytest.raises(KeyboardInterrupt):
        cli.main(command)
    with h5py.File(train.data.targets["vae"], "r+") as file:
        file["mean"][:] = 5
        ids, values = file["image_id"][:], {name: file[name][:] for name in ("mean", "logvar")}
        del file.attrs["sha256"]
        write_text(file, "sha256", digest(ids, values))
    monkeypatch.delenv("TOY_BATCHES")
    assert cli.main(command) == 0
    for window in windows:
        with h5py.File(out / f"{window}.h5") as file:
            assert np.all(file["images"][:, 0] == 150)


@pytest.mark.survives(
    "names",
    "A setting that a stage needs is missing from settings that were written by hand",
    "One line names the key and what was expected; nothing is written",
)
@pytest.mark.parametrize("key", ["run", "preprocessing", "generators", "window"])
def test_a_key_is_missing(place, tmp_path, capsys, key):
    jobs(place)
    settings = {"run": {}, "preprocessing": {}, "generators": {}, "window": {}}
    del settings[key]
    refused(capsys, "fit", settings, f"{key}: the key is missing")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"run": []}, "--settings: run: expected keys and their values"),
        ({"run": {}}, "expected `decoder`, one of the decoders: "),
        ({"run": {"decoder": "toi"}}, "'toi' is none of the decoders, which are "),
        (
            {"run": "mean_image"},
            "--settings: run: expected one of toy.fit, found one of mean_image",
        ),
        ({"generators": []}, "--settings: generators: expected keys and their values"),
        ({"window": 3}, "--settings: window: expected keys and their values"),
    ],
)
def test_a_setting_is_of_another_kind(place, tmp_path, capsys, changes, told):
    named = jobs(place).config
    if changes.get("run") == "mean_image":
        changes = {"run": named.run("mean_image").model_dump(mode="json")}
    run = named.run("toy").model_dump(mode="json")
    settings = {"run": run, "preprocessing": NSD_PREP.model_dump(), "generators": {}}
    refused(capsys, "fit", settings | {"window": WINDOW} | changes, told, tmp_path)


def refused(capsys, stage, settings, told, folder=None):
    data = []
    if folder:
        subject = write_subject(folder, "subj01")
        data = json.loads(data_arguments(None, [subject], {}, 0)[3])
    command = ["--settings", json.dumps(settings), "--data", json.dumps(data or {})]
    assert cli.main([f"toy.{stage}", *command, "--out", "nowhere/fit"]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.survives(
    "names",
    "A module of a decoder of the user's own cannot be imported, or lacks what it must define",
    "Refused when the configuration is read; the module, the line and the error are named",
)
@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("settings.py", "class Run(:", "settings.py: expected a module, found SyntaxError in "),
        ("settings.py", "\nimport nowhere", "settings.py, line 2: No module named 'nowhere'"),
        ("settings.py", "", "settings.py: expected Run, found none; add it"),
        ("stages.py", "1 / 0", "stages.py, line 1: division by zero; correct it"),
        ("stages.py", "", "stages.py: expected STAGES, found none; add it"),
        ("stages.py", "STAGES = {'a b': ''}", "stages.py: 'a b': expected a name of a-z, 0-9 and"),
        ("stages.py", "STAGES = {'split': ''}", "stages.py: 'split': expected a name of a-z"),
        ("stages.py", "STAGES = {'cost': ''}", "stages.py: 'cost': expected a name of a-z"),
        ("stages.py", "STAGES = {'later': ''}", "toy: expected later.py, as stages.py says"),
        (
            "stages.py",
            "STAGES = {'fit': '', 'low': ''}\nAFTER = {'fit': ['low']}",
            "stages.py: AFTER: 'low' is no stage before fit; correct it",
        ),
    ],
)
def test_a_module_is_not_as_it_should_be(place, file, text, told):
    (place / file).write_text(text)
    with pytest.raises(UserError) as error:
        jobs(place)
    assert told in str(error.value)


def test_a_hidden_folder_is_no_decoder(place):
    (place.parent / "_toy").mkdir()
    (place.parent / "_toy" / "settings.py").touch()
    jobs(place)
    assert "_toy" not in plugins.found("decoders")


@pytest.mark.survives(
    "names",
    "A decoder of the user's own is named like one of our modules, or its path has a colon",
    "Refused when the configuration is read; its folder is named",
)
def test_a_name_that_python_cannot_find(place, tmp_path):
    place.rename(place.with_name("base"))
    with pytest.raises(UserError, match=r"decoders/base: boldvision\.decoders has a module"):
        jobs(place)
    (tmp_path / "mine").rename(tmp_path / "my:own")
    with pytest.raises(UserError, match="my:own: expected a path without ':'; move it"):
        jobs(tmp_path / "my:own" / "decoders" / "base")


def test_a_run_with_a_base_is_stated_for_real_data_too(place):
    values = values_of(str(ROOT / "config" / "nsd.yaml"))
    values |= {"plugins": [str(place.parents[1])], "runs": {}, "targets": {}}
    assert load_config(values).run("toy_strong").fit.alpha == 2.0
    file = place / "runs.yaml"
    file.write_text(file.read_text().replace("  toy_strong: {}\n", ""))
    with pytest.raises(UserError, match=r"runs\.toy_strong: .* for the miniature alone"):
        load_config(values)


def test_a_run_starts_from_one_of_its_own_decoder(place):
    start = {"run": "toy", "subjects": ["subj02"]}
    with pytest.raises(UserError, match="`pretrained`: expected a run of decoder dynadiff, found"):
        jobs(place, {"dynadiff": {"pretrained": start}})
