"""The rules of every decoder that is found, and of one outside of the project."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from boldvision import plugins

ROOT = Path(__file__).parents[2]
DECODERS = plugins.found("decoders")
CONFIGS = {"miniature": [], "nsd": ["--configfile", str(ROOT / "config" / "nsd.yaml")]}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_stage_has_a_rule_that_is_planned(snakemake, config, official_weights):
    """Of a model of the first run of each decoder, all at once."""
    runs = [next(iter(named(name)["miniature"])) for name in DECODERS]
    models = [f"results/{config}/models/{run}/subj01/main/seed-0/model.json" for run in runs]
    weights = ["--config", f"runs={{dynadiff_official: {{weights: {official_weights}}}}}"]
    options = ["--dry-run", "--quiet", "rules", "--nolock", *CONFIGS[config], *weights, "--"]
    printed = snakemake(*options, *models)
    table = printed.split("Job stats:")[1].split("\n\n")[0]
    planned = dict(re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE))
    for name in DECODERS:
        for stage in plugins.stages(name):
            assert planned[f"{name}_{stage}"] == "1"


def named(name):
    """What the decoder's ``runs.yaml`` says."""
    return yaml.safe_load((DECODERS[name] / "runs.yaml").read_text())


@pytest.mark.parametrize("name", DECODERS)
def test_each_stage_has_a_rule_of_its_own_code(name):
    text = (DECODERS[name] / "rules.smk").read_text()
    rules = dict(re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)*)", text, re.MULTILINE))
    stages = [f"{name}_{stage}" for stage in plugins.stages(name)]
    assert list(rules) in (stages, [*stages, f"{name}_model"])  # which lists what they made
    for stage in plugins.stages(name):
        assert f'code=CODE.stage("{name}.{stage}")' in rules[f"{name}_{stage}"]


@pytest.mark.survives(
    "places",
    "`plugins` is relative to the working directory, and a job is a Snakemake of its own",
    "Snakemake and its jobs find the plug-in there",
)
def test_a_plugin_beside_the_working_directory_is_found(snakemake, tmp_path):
    folder = tmp_path / "mine" / "decoders" / "floor"
    shutil.copytree(DECODERS["mean_image"], folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in folder.iterdir():
        file.write_text(file.read_text().replace("mean_image", "floor"))
    (tmp_path / "mine.yaml").write_text("plugins: [mine]\n")
    own = ["--dry-run", "--nolock", "--cores", "1", "--configfile", "mine.yaml"]
    model = "results/miniature/models/floor/subj01/main/seed-0/model.json"
    printed = snakemake(*own, "--printshellcmds", "--", model, place=tmp_path)
    assert "python -m boldvision floor.train" in printed
    job = ["--target-jobs", "floor_train:run=floor,subjects=subj01,window=main,seed=0"]
    snakemake(*own, "--mode", "subprocess", "--allowed-rules", "floor_train", *job, place=tmp_path)
    (tmp_path / "mine.yaml").write_text("plugins: []\n")
    snakemake(*own, "--mode", "subprocess", *job, place=tmp_path, fails=True)
