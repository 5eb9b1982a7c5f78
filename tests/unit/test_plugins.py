"""Decoders and targets of the user's own, in folders outside of the project."""

import copy
import json
import os
import shutil

import h5py
import numpy as np
import pytest
import yaml
from decoder_data import write_subject

from boldvision import cli, plugins
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.errors import UserError
from boldvision.fingerprint import Code
from boldvision.plan import Plan
from boldvision.shipped import ROOT
from boldvision.targets.base import TargetFile

FILES = {"miniature": ["config.yaml"], "nsd": ["config.yaml", "nsd.yaml"]}
VALUES = {
    name: read_values([str(ROOT / "config" / file) for file in files])
    for name, files in FILES.items()
}
CACHE = shutil.ignore_patterns("__pycache__")
SHADE = {
    "settings.py": """
from typing import Literal
from boldvision.targets.settings import BaseTarget

class Target(BaseTarget):
    kind: Literal["shade"]
    scale: float = 1.0

    def bytes_per_image(self, generators, networks):
        return 4
""",
    "network.py": """
import numpy as np

def load(target, frozen):
    return lambda s: {"shade": target.scale * s.pictures.mean((1, 2, 3), np.float32)}
""",
    "targets.yaml": "miniature: {dark: {kind: shade, scale: 0.5}}\nreal: {dark: {}}\n",
}


@pytest.fixture(autouse=True)
def _forget():
    """The next test begins without plug-ins."""
    yield
    plugins.use([])


def copied(folder, name="floor", of="mean_image"):
    """A decoder of the user's own: one of ours, by another name."""
    target = folder / "decoders" / name
    shutil.copytree(ROOT / "boldvision" / "decoders" / of, target, ignore=CACHE)
    for file in target.iterdir():
        file.write_text(file.read_text().replace(of, name))
    return target


def config(*folders, dataset="miniature", **values):
    changed = {"plugins": [str(folder) for folder in folders]} | values
    return load_config(copy.deepcopy(VALUES[dataset]) | changed)


def refused(*folders, dataset="miniature", **values):
    """What is said of these plug-ins."""
    with pytest.raises(UserError) as told:
        config(*folders, dataset=dataset, **values)
    return str(told.value)


def test_a_decoder_outside_of_the_project_is_one_of_the_others(tmp_path):
    copied(tmp_path)
    mine = config(tmp_path)
    assert mine.run("floor").decoder == "floor"
    assert "floor" in plugins.found("decoders")
    assert "floor" in {evaluation.run for evaluation in Plan(mine).items["demo", "table_1"]}
    assert "floor.train" in cli._stages()


def test_the_next_configuration_has_no_plugins_of_the_last(tmp_path):
    copied(tmp_path)
    config(tmp_path)
    assert "floor" not in config().run_names
    assert "floor" not in plugins.found("decoders")


@pytest.mark.survives(
    "names",
    "A decoder of the user's own lacks a file",
    "Refused when the configuration is read; its folder and the file are named",
)
@pytest.mark.parametrize("name", plugins.FILES["decoders"])
def test_a_file_is_missing(tmp_path, name):
    (copied(tmp_path) / name).unlink()
    said = refused(tmp_path)
    assert "decoders/floor: expected settings.py, stages.py, decoder.py, cost.py, rules.smk" in said
    assert f"found no {name}; add it" in said


@pytest.mark.survives(
    "names",
    "Two decoders have the same name, both the user's, or one of ours",
    "Refused when the configuration is read; both folders are named",
)
def test_two_of_one_name(tmp_path):
    one, other = copied(tmp_path / "a"), copied(tmp_path / "b")
    said = refused(tmp_path / "a", tmp_path / "b")
    assert f"{other} and {one} have the same name; rename one" in said
    mine, ours = copied(tmp_path / "c", "mean_image"), ROOT / "boldvision/decoders/mean_image"
    assert f"{mine} and {ours} have the same name; rename one" in refused(tmp_path / "c")


@pytest.mark.survives(
    "names",
    "`plugins` names a folder without a decoder or a target, or one that is not there",
    "Refused when the configuration is read; the folder is named, and what it should hold",
)
def test_no_plugin_in_the_folder(tmp_path):
    for place in (tmp_path, tmp_path / "gone"):
        assert f"plugins: {place}: expected a folder decoders/NAME, targets/" in refused(place)
    copied(tmp_path, "a b")
    assert "decoders/a b: expected a name of a-z, 0-9 and _; rename it" in refused(tmp_path)


@pytest.mark.survives(
    "names",
    "The file of a decoder's named runs is not as it should be",
    "Refused when the configuration is read; the file and what was expected are named",
)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("miniature: [", "expected named settings under `miniature` and `real`"),
        ("floor: {decoder: floor}", "expected named settings under `miniature` and `real`"),
        ("miniature: 3", "expected named settings under `miniature` and `real`"),
        ("miniature: {floor: 3}", "expected named settings under `miniature` and `real`"),
        ("", "expected named settings under `miniature` and `real`"),
        ("miniature: {mean_image: {decoder: floor}}", "'mean_image' is named elsewhere too"),
    ],
)
def test_wrong_named_runs(tmp_path, text, told):
    file = copied(tmp_path) / "runs.yaml"
    file.write_text(text)
    said = refused(tmp_path)
    assert f"{file}: " in said
    assert told in said


@pytest.mark.survives(
    "results",
    "A decoder's run has settings for the miniature alone, and real data are decoded",
    "Refused when the configuration is read; the run and the file are named",
)
def test_settings_for_real_data_must_be_stated(tmp_path):
    file = copied(tmp_path) / "runs.yaml"
    named = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(named | {"real": {}}))
    assert config(tmp_path).run("floor")
    said = refused(tmp_path, dataset="nsd")
    assert f"runs.floor: {file} has settings for the miniature alone; expected those for" in said
    for runs in ({"floor": {"split": "time_resolved"}}, {"mine": {"base": "floor"}}):
        assert "settings for the miniature alone" in refused(tmp_path, dataset="nsd", runs=runs)
    stated = {"floor": {"decoder": "floor", "split": "standard", "preprocessing": "nsd_prep"}}
    assert "image_px" in refused(tmp_path, dataset="nsd", runs=stated)
    stated["floor"]["image_px"] = 512
    assert config(tmp_path, dataset="nsd", runs=stated).run("floor").image_px == 512


def test_a_relative_folder_is_of_the_working_directory(tmp_path, monkeypatch):
    copied(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    config("mine")
    assert os.environ[plugins.VARIABLE] == str(tmp_path / "mine")


def test_an_edit_of_a_plugin_runs_its_own_stage_again(tmp_path):
    folder = copied(tmp_path)
    config(tmp_path)

    def prints():
        code = Code()
        return code.stage("floor.train")(None), code.fingerprint(
            "boldvision.decoders.floor.decoder"
        )

    def same_after_edit_of(file):
        before = prints()
        with open(folder / file, "a") as text:
            text.write("\nunused = 1\n")
        return [one == other for one, other in zip(before, prints(), strict=True)]

    assert same_after_edit_of("train.py") == [False, True]
    assert same_after_edit_of("decoder.py") == [True, False]
    assert same_after_edit_of("settings.py") == [True, True]


# Targets


@pytest.fixture
def shade(tmp_path):
    folder = tmp_path / "targets" / "shade"
    folder.mkdir(parents=True)
    for name, text in SHADE.items():
        (folder / name).write_text(text)
    return tmp_path


def test_a_target_outside_of_the_project_is_made(shade, tmp_path):
    mine = config(shade)
    assert "dark" in mine.target_names
    assert config(shade, dataset="nsd").target("dark").scale == 0.5
    images, out = write_subject(tmp_path, "subj01").images, tmp_path / "dark.h5"
    told = {"target": mine.target("dark").model_dump(), "generators": {}}
    command = ["target", "--settings", json.dumps(told), "--images", str(images), "--out", str(out)]
    assert cli.main(command) == 0
    with h5py.File(images) as file:
        expected = 0.5 * file["images"][:].mean((1, 2, 3), np.float32)
    assert np.allclose(TargetFile(out)["shade"], expected)


def test_a_wrong_setting_of_it_is_refused(shade):
    with pytest.raises(UserError, match=r"targets\.mine\.scale"):
        config(shade, targets={"mine": {"kind": "shade", "scale": "much"}})


def test_a_target_that_does_not_say_what_it_takes_on_disk_is_refused(shade):
    file = shade / "targets" / "shade" / "settings.py"
    file.write_text(file.read_text().partition("    def ")[0])
    with pytest.raises(UserError, match=r"settings\.py: Target: expected a method bytes_per_image"):
        config(shade)
