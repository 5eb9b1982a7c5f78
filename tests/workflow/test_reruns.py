"""What an edit of the code runs again: exactly the rules that are made of it."""

import ast
import importlib
import re
import shutil
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest

from boldvision import plugins
from boldvision.cli import STAGES
from boldvision.config import Config, Figures
from boldvision.config.section import Section
from boldvision.fingerprint import LEFT_OUT, TRAINS, Code, is_left_out
from boldvision.trials import splits
from tests import reruns as script

PROSE = '\n# A comment.\n"""Prose."""\nfrom numpy import ndarray as _Array\nunset: _Array\n'

DECODERS = plugins.found("decoders")

AROUND = {"gpu", "serve"}
"""Stages that run the command of another."""

BY_NAME = {
    "reconstruct": "boldvision.decoders.{}.decoder",
    "split": "boldvision.trials.splits.{}",
    "target": "boldvision.targets.{}.network",
    "pretrain_network": "boldvision.networks.{}.pretrain",
}
"""What a stage imports by the name of a decoder, of a kind of target, or of a split."""

VALUES = (int, float, str, list, tuple, dict, set)
"""What would change a result and no fingerprint, were it imported from a module of settings."""

BEFORE_A_JOB = {
    *("bytes_per_image", "teraflop_per_image", "check", "downloads", "draws", "generator_names"),
    *("network_names", "lacks", "chosen"),
    *("latent_generator", "require", "shifted"),
    *("side", "stage_generators", "stage_networks", "stage_targets", "target_names"),
}
"""What settings are asked for beside their values: names and sizes, for a plan."""

INSTEAD = {"fmriprep": "boldvision.signal.fmriprep_command"}
"""Stages of which a part alone says what comes out."""


@pytest.fixture(scope="module")
def reruns(tmp_path_factory):
    return script.Reruns(tmp_path_factory.mktemp("copy"))


def roots(rule, case):
    """The modules that a rule runs: of its script, or of the stage in its command."""
    if rule.script:
        name = re.search(r"(\w+)\.py", str(rule.script))[1]
        return [f"workflow.scripts.{name}"]
    (stage,) = {*re.findall(r"-m boldvision ([\w.]+)", rule.shellcmd)} - AROUND
    if stage not in STAGES:
        return [TRAINS, f"boldvision.decoders.{stage}"]
    by_name = [BY_NAME[stage].format(case)] if stage in BY_NAME else []
    return [INSTEAD.get(stage, STAGES[stage][0]), *by_name]


@pytest.fixture(scope="module")
def made_of(reruns):
    """Modules that each rule is made of, by rule, and by case where these differ."""
    code = Code(reruns.copy)
    found = {}
    for name in reruns.before:
        rule, _, case = name.partition(" of ")
        found[name] = set(code.modules(*roots(reruns.rules[rule], case)))
    return found


@pytest.fixture(scope="module")
def training(made_of):
    """Rules that train decoders."""
    return {name for name, modules in made_of.items() if TRAINS in modules}


def below(reruns, folder, name):
    """Modules of that name in the folders of all decoders, or of all targets."""
    return [m for m in reruns.modules if re.fullmatch(rf"boldvision\.{folder}\.\w+\.{name}", m)]


def test_every_rule_that_computes_names_its_code(reruns):
    computing = {
        name
        for name, rule in reruns.rules.items()
        if (rule.shellcmd or rule.script) and rule.output and "downloads" not in rule.resources
    }
    assert computing == {name.partition(" of ")[0] for name in reruns.before}
    assert len(computing) > 20


@pytest.mark.survives(
    "results",
    "A module is edited after the workflow has run",
    "The rules that are made of it run again, directly or not, and no others",
)
def test_an_edit_runs_exactly_the_rules_that_are_made_of_the_module(reruns, made_of):
    assert all(made_of.values())
    for module in reruns.modules:
        expected = {name for name, modules in made_of.items() if module in modules}
        assert reruns.effects[module] == expected, module


@pytest.mark.survives(
    "results",
    "How pictures are made is edited after models were trained",
    "Pictures are made again, with the models that are there",
)
def test_an_edit_of_inference_trains_nothing(reruns, training):
    assert training
    decoders = below(reruns, "decoders", "decoder")
    assert len(decoders) >= 2
    for module in (*decoders, "boldvision.generators.sampler", "boldvision.decoders.reconstruct"):
        found = reruns.effects[module]
        assert found, module
        assert all(name.startswith("reconstruct") for name in found), module


def test_an_edit_of_a_decoder_runs_nothing_of_another(reruns):
    """But of one whose runs are runs of it, with other weights."""
    run = {each: plugins.module("decoders", each, "settings").Run for each in DECODERS}
    for module in below(reruns, "decoders", r"\w+"):
        for name in reruns.effects[module]:
            rule, _, case = name.partition(" of ")
            *_, last = roots(reruns.rules[rule], case)
            edited, other = module.split(".")[2], last.split(".")[2]
            assert issubclass(run[other], run[edited]), (module, name)


def test_an_edit_of_what_trains_trains_again(reruns, training, made_of):
    by_gradient = {name for name in training if "boldvision.training.loop" in made_of[name]}
    assert by_gradient
    for module in ("seeds", "hdf5", "trials.windows", "training.loop", "training.schedule"):
        assert by_gradient <= reruns.effects[f"boldvision.{module}"], module
    for module in [*below(reruns, "decoders", "train"), *below(reruns, "decoders", "objective")]:
        assert reruns.effects[module] & training, module


def test_an_edit_of_a_target_s_network_makes_only_its_targets_again(reruns):
    networks = below(reruns, "targets", "network")
    assert networks
    for module in networks:
        assert {name.partition(" of ")[0] for name in reruns.effects[module]} == {"encode_target"}


def test_an_edit_of_a_split_makes_only_it_and_those_drawn_from_it_again(reruns):
    def made(split):
        return reruns.effects[f"boldvision.trials.splits.{split}"]

    rule = "split_trials of {}".format
    assert made("standard") == {rule("standard")}
    assert made("time_resolved_size_matched") == {rule("time_resolved_size_matched")}
    assert made("time_resolved") == {rule(s) for s in splits.names() if s != "standard"}


def test_comments_docstrings_and_types_run_nothing_again(reruns):
    assert reruns.after(*reruns.modules) == set(reruns.before)
    assert reruns.after(*reruns.modules, edit=PROSE) == set()


def test_what_is_left_out_runs_nothing_again(reruns):
    left_out = [module for module in reruns.modules if is_left_out(module)]
    assert len(left_out) > 20
    assert reruns.after(*left_out) == set()


def test_modules_of_settings_bring_no_values_of_their_own(reruns, made_of):
    settings, *_ = LEFT_OUT.values()
    seen = 0
    for module in set().union(*made_of.values()):
        for node in ast.walk(ast.parse(reruns.modules[module].read_text())):
            source = node.module if isinstance(node, ast.ImportFrom) else ""
            if not any(fnmatchcase(source, pattern) for pattern in settings):
                continue
            for alias in node.names:
                value = getattr(importlib.import_module(source), alias.name, None)
                assert not isinstance(value, VALUES), (module, alias.name)
                seen += 1
    assert seen > 20


def test_settings_compute_nothing_in_a_job():
    """What a property of theirs says would change a result and no fingerprint."""
    found = {}
    for kind in ("decoders", "targets"):
        for name in plugins.found(kind):
            plugins.module(kind, name, "settings")
    uncounted = {s for s in below_class(Section) if is_left_out(s.__module__)}
    for section in uncounted - {Config, Figures}:
        own = {name: value for name, value in vars(section).items() if not name.startswith("_")}
        found |= {
            f"{section.__module__}.{section.__name__}.{name}": name
            for name, value in own.items()
            if name in section.model_computed_fields
            or isinstance(value, FunctionType | property | cached_property)
        }
    assert {"generator_names", "check"} <= set(found.values()) <= BEFORE_A_JOB, found


def below_class(section):
    """All classes derived from `section`."""
    return {each for sub in section.__subclasses__() for each in {sub, *below_class(sub)}}


def test_the_table_is_up_to_date(reruns):
    text = script.PAGE.read_text()
    assert script.page(text, script.table(reruns)) == text, "out of date: run `make docs`"


@pytest.mark.survives(
    "results",
    "`data_seed` or the number of test runs is changed after everything was made",
    "Splits that are drawn are made again, with their models; no model of the standard split is",
)
def test_another_data_seed_trains_no_model_of_the_standard_split(snakemake, tmp_path):
    """With Snakemake itself: outputs of two figures that are there, then another configuration."""

    def run(*options):
        return snakemake("--nolock", *options, "--", "figure_6", "figure_5", place=tmp_path)

    def anew(changed):
        """What is made again, and of which split or run."""
        made = re.compile(r"^    output: results/miniature/(\w+)/(\w+)/subj01", re.MULTILINE)
        return set(made.findall(run("--dry-run", "--config", changed)))

    pretend_done(run, tmp_path)
    drawn = {("splits", "time_resolved"), ("models", "dynadiff_time_resolved")}
    drawn |= {(made, "dynadiff_time_resolved") for made in ("reconstructions", "metrics")}
    assert anew("time_resolved_test_runs=3") == drawn
    # Figure 6 shows one repetition of each image, which is drawn, too.
    assert anew("data_seed=1") == drawn | {("reconstructions", "dynadiff"), ("metrics", "dynadiff")}


def pretend_done(run, place):
    """Files that are asked for, empty, with the records that Snakemake would keep of them."""
    for line in run("--summary").splitlines():
        if "\tmissing\t" in line:
            output = place / line.split("\t")[0]
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch() if output.suffix else output.mkdir()
    run("--touch", "--cores", "1")


@pytest.mark.survives(
    "results",
    "A setting of one stage of a decoder is changed, which another stage does not read",
    "That stage runs again, and the model is listed anew; the other does not",
)
def test_stages_that_read_nothing_of_each_other_run_again_alone(snakemake, tmp_path):
    def run(*options):
        model = "results/miniature/models/mindeye1/subj01/main/seed-0/model.json"
        return snakemake("--nolock", *options, "--", model, place=tmp_path)

    def anew(changed):
        printed = run("--dry-run", "--config", f"runs={{mindeye1: {changed}}}")
        return set(re.findall(r"^(?:local)?rule mindeye1_(\w+):", printed, re.MULTILINE))

    pretend_done(run, tmp_path)
    assert anew("{high_level: {learning_rate: 2.0e-3}}") == {"high_level", "model"}
    assert anew("{low_level: {learning_rate: 2.0e-3}}") == {"low_level", "model"}
    operational = "{high_level: {device_batch_size: 80}, reconstruction: {candidates: 2}}"
    assert anew(operational) == set()


def test_snakemake_runs_again_what_the_edited_code_makes(snakemake, tmp_path):
    """Once with Snakemake itself: outputs of table 1 that are there, and a copy that is edited."""
    project, place = tmp_path / "project", tmp_path / "place"
    place.mkdir()
    for part in ("boldvision", "workflow", "config", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(script.ROOT / part, project / part, ignore=ignored)
    snakefile = shutil.copy(script.ROOT / "Snakefile", project)

    def run(*options):
        return snakemake("--nolock", *options, "--", "table_1", place=place, snakefile=snakefile)

    pretend_done(run, place)
    for module in Path(project).rglob("*.py"):
        module.write_text(module.read_text() + PROSE)
    sampler = project / "boldvision" / "generators" / "sampler.py"
    sampler.write_text(sampler.read_text() + script.EDIT)
    printed = run("--dry-run")
    assert "Rules with provenance triggered jobs: reconstruct\n" in printed
    jobs = printed.split("Job stats:")[1].split("total")[0]
    assert set(re.findall(r"^(\w+) +\d+$", jobs, re.MULTILINE)) == {
        *("reconstruct", "evaluate", "make_table", "table_1"),
    }
