"""What every decoder keeps, whichever are found: CONTRIBUTING.md says it."""

import json
import os
import re
import signal
from functools import partial
from itertools import count

import h5py
import numpy as np
import pytest
import yaml
from accelerate.state import AcceleratorState, GradientState
from decoder_data import WINDOW, data_arguments, reconstruct_arguments, write_subject
from official_data import prepare

from boldvision import cli, costs, plugins
from boldvision.captions import write_captions
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.fingerprint import Code
from boldvision.hdf5 import read_text
from boldvision.metrics.protocols import PROTOCOLS
from boldvision.plan import Plan
from boldvision.runs_table import read_runs
from boldvision.shipped import ROOT, shipped

PLUGINS = list(filter(None, os.environ.get(plugins.VARIABLE, "").split(os.pathsep)))
"""Of a user who tests decoders of their own."""
DECODERS = plugins.found("decoders")
FILES = {"miniature": ["config.yaml"], "nsd": ["config.yaml", "nsd.yaml"]}
CONFIGS = {
    name: load_config(read_values([str(ROOT / "config" / f) for f in files]) | {"plugins": PLUGINS})
    for name, files in FILES.items()
}
CENTRAL = ("boldvision", "workflow", "profiles", "config", "Snakefile")
GENERATED = {"config/README.md", "workflow/schemas/config.schema.json"}
LAID_OVER = {"config/nsd_small.yaml"}
"""Configurations such as a user writes, which name runs."""
PROTOCOLS_OF_METRICS = {
    "boldvision/config/scoring.py",
    "boldvision/metrics/protocols.py",
    "boldvision/report/tables.py",
}
"""Where protocols stand, which are named after who published them, as some decoders are."""
WEIGHTS = {"dynadiff_official": prepare}
"""Of decoders that are not trained here: what writes random weights, and names them in a run."""
TIMED = ("training.json", "model.json")
"""Files of a model that say how long its training took, or hold the digest of one that does."""

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module", params=DECODERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def own(name):
    """What the decoder's ``runs.yaml`` says."""
    return yaml.safe_load((DECODERS[name] / "runs.yaml").read_text())


@pytest.fixture(scope="module")
def stages(name):
    return list(plugins.stages(name))


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def test_every_named_run_is_the_decoder_s(own, config, name):
    assert {config.run(run).decoder for run in own["miniature"]} == {name}
    for run in own["miniature"]:
        assert (ROOT / "envs" / f"{config.run(run).environment}.yaml").is_file()
    assert set(own["real"]) <= set(own["miniature"])


def test_its_rows_are_of_its_own_runs(own, name):
    rows = read_runs(DECODERS[name] / "runs.tsv")
    assert len(rows)
    assert set(rows["run"]) <= set(own["miniature"])


def test_every_stage_and_picture_costs_something(own, config, name, stages):
    plan, model = Plan(config), costs.Model(next(iter(own["miniature"])), "subj01", "main", 0)
    works = costs.training(plan, model)
    assert list(works) == stages
    assert all(work.bytes > 0 for work in works.values())
    assert costs.picture(plan, model.run).px > 0


def test_one_page_describes_it(name):
    page = (DECODERS[name] / "README.md").read_text()
    assert page.startswith("# ")
    assert 5 < len(page.splitlines()) < 80
    for part in ("Source", "Stages", "Open points"):
        assert f"\n## {part}\n" in page, part


def test_nothing_else_knows_its_name(name):
    found = set()
    for place in CENTRAL:
        for file in sorted((ROOT / place).rglob("*")) or [ROOT / place]:
            if not file.is_file() or file.suffix in (".pyc", ".csv", ".safetensors"):
                continue
            if any(map(file.is_relative_to, [*built_upon(name), *strangers(name)])):
                continue
            text = file.read_text(errors="replace")
            if file.suffix == ".yaml":  # a comment may show how to set something
                text = re.sub(r"(?m)^ *#.*$", "", text)
            if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", text):
                found.add(str(file.relative_to(ROOT)))
    assert found <= GENERATED | LAID_OVER | (PROTOCOLS_OF_METRICS if name in PROTOCOLS else set())


def strangers(name):
    """Ours, of a decoder from elsewhere: they do not know it, and may use its name as a word."""
    return [] if DECODERS[name].is_relative_to(ROOT) else list(DECODERS.values())


def built_upon(name):
    """Its folder, and those of decoders whose runs are runs of it, with other weights."""
    run = {each: plugins.module("decoders", each, "settings").Run for each in DECODERS}
    return [DECODERS[each] for each in DECODERS if issubclass(run[each], run[name])]


def test_pictures_are_made_without_the_code_of_training(name, stages):
    code, package = Code(), f"boldvision.decoders.{name}"
    inference = set(code.modules("boldvision.decoders.reconstruct", f"{package}.decoder"))
    trained = {f"{package}.{stage}" for stage in stages}
    assert not inference & trained
    assert not [module for module in inference if module.startswith("boldvision.training")]
    training = set(code.modules("boldvision.decoders.stage", *trained))
    assert not training & {f"{package}.decoder", "boldvision.decoders.reconstruct"}


# Training end to end, on random data


class Study:
    """A subject of noise, and commands that train a decoder on it and make pictures.

    `generator` stands for the tiny one; other generators and all networks are those that ship.
    """

    def __init__(self, folder, name, run, generator):
        self.folder, self.stages = folder, list(plugins.stages(name))
        settings = plugins.run_settings(run)
        self.random, self.label = settings.random, settings.label
        self.tiny = generator
        self.frozen = self._frozen(settings)
        folder.mkdir()
        self.subject = write_subject(folder, "subj01")
        if name in WEIGHTS:
            run = WEIGHTS[name](folder / "weights", run, generator, self.subject)
        self.name, self.run = name, run
        for target in set(settings.target_names()) - set(self.subject.targets):
            self.subject.targets[target] = self._target(target)

    def _frozen(self, named):
        """Settings of the generators and networks that a run or a target names."""
        config, tiny = CONFIGS["miniature"], {"tiny": self.tiny}
        return {
            "generators": {
                n: with_its_folder(tiny.get(n) or config.generators[n])
                for n in named.generator_names()
            },
            "networks": {n: with_its_folder(config.network(n)) for n in named.network_names()},
        }

    def _target(self, name):
        out, captions = self.folder / f"{name}.h5", self.folder / "captions.parquet"
        target = CONFIGS["miniature"].target(name)
        settings = {"target": target.model_dump(), **self._frozen(target)}
        files = ["--images", str(self.subject.images), "--out", str(out)]
        if target.captions:
            write_captions(captions, {image_id: [f"noise {image_id}"] for image_id in range(1, 9)})
            files += ["--captions", str(captions)]
        assert cli.main(["target", "--settings", json.dumps(settings), *files]) == 0
        return out

    def train(self, model, stage, seed=0):
        """Run a stage as in a process that just began."""
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        told = data_arguments(None, [self.subject], self.run, seed, window=WINDOW, **self.frozen)
        assert cli.main([f"{self.name}.{stage}", *told, "--out", str(model / stage)]) == 0

    def train_all(self, model, seed=0):
        for stage in self.stages:
            self.train(model, stage, seed)
        return model

    def reconstruct(self, model, seed=0):
        """The file of reconstructions."""
        out = model.with_name(f"{model.name}.pictures")
        command = reconstruct_arguments(
            None, self.subject, model, out, run=self.run, seed=seed, **self.frozen
        )
        assert cli.main(command) == 0
        return h5py.File(out / "main.h5")


def with_its_folder(settings):
    """Settings of what is frozen, with the folder that ships."""
    return settings.model_dump(mode="json") | {"folder": shipped(settings.folder)}


@pytest.fixture(scope="module")
def study(folder, name, own, generator):
    run = plugins.merge(next(iter(own["miniature"].values())), own["test"] or {})
    return Study(folder / name, name, run, generator)


@pytest.fixture(scope="module")
def model(study):
    return study.train_all(study.folder / "model")


def made(model):
    """Bytes of all that a model's stages made, but for times."""
    listed = json.loads((model / "model.json").read_text())["artefacts"]
    return {file: (model / file).read_bytes() for file in listed if not file.endswith(TIMED)}


def test_a_model_lists_what_every_stage_made(model, study):
    assert {file.partition("/")[0] for file in made(model)} == set(study.stages)
    assert sorted(path.name for path in model.iterdir() if path.name[0] != ".") == sorted(
        [*study.stages, "model.json"]
    )


def test_the_same_seed_makes_the_same_bytes(study, model):
    again = study.train_all(study.folder / "again")
    assert made(again) == made(model)
    assert np.array_equal(study.reconstruct(again)["images"], study.reconstruct(model)["images"])


def test_another_seed_makes_other_pictures_unless_nothing_is_random(study, model):
    other = study.train_all(study.folder / "other", seed=1)
    pictures = study.reconstruct(model)["images"][:]
    same = np.array_equal(study.reconstruct(other, seed=1)["images"], pictures)
    assert same is not study.random


def test_the_labels_of_all_weights_are_shown(study, model):
    frozen = [each["label"] for kind in study.frozen.values() for each in kind.values()]
    shown = read_text(study.reconstruct(model), "label").split("; ")
    assert {*filter(None, [study.label, *frozen])} <= {*shown}


@pytest.mark.survives(
    "jobs",
    "A stage of any decoder is killed at any of the moments at which it writes a file",
    "The same command goes on and makes the same bytes",
)
def test_a_stage_that_was_killed_makes_the_same_bytes(study, model):
    expected = made(model)
    for number, stage in enumerate(study.stages):
        for moment in count():
            killed = study.folder / f"killed-{stage}-{moment}"
            for before in study.stages[:number]:
                study.train(killed, before)
            if not dies(study, killed, stage, moment):
                break
            for later in study.stages[number:]:
                study.train(killed, later)
            assert made(killed) == expected
        assert moment > 2, f"{stage} renames {moment} files: no folder, or none of its own"


def dies(study, model, stage, moment):
    """Run a stage in a child that is killed where it would rename a file for the n-th time."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL)
        return status == signal.SIGKILL
    status, renamed = 1, count()
    try:
        for name in ("rename", "replace"):
            setattr(os, name, partial(_rename_or_die, getattr(os, name), renamed, moment))
        study.train(model, stage)
        status = 0
    finally:
        os._exit(status)


def _rename_or_die(rename, renamed, moment, *paths, **options):
    if next(renamed) == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*paths, **options)
