"""The configuration: what is refused, how runs inherit, what windows mean, that docs agree."""

import copy
import json
import re
import subprocess
import sys
import time

import jsonschema
import pytest
import yaml
from config_data import ROOT, values_of
from pydantic import ValidationError

from boldvision import config_docs
from boldvision.config import Config, split_window_name
from boldvision.config.load import load_config
from boldvision.errors import UserError

DEFAULT = values_of()


@pytest.fixture
def values():
    return copy.deepcopy(DEFAULT)


def check(*files):
    return config_docs.read_config([str(file) for file in files])


def test_default_is_valid(values):
    config = Config.model_validate(values)
    assert config.run("dynadiff").decoder == "dynadiff"
    assert set(config.scopes) >= {config.scope}


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (["sed"], "sed"),
        (["figures", "figure_5", "metric"], "figures.figure_5.metric"),
        (["s3", "bukket"], "s3.bukket"),
        (["subjects", "subj01", "voxel"], "subjects.subj01.voxel"),
        (["runs", "dynadiff", "training", "stepz"], "training.stepz"),
    ],
)
def test_unknown_key_is_named(values, path, named, tmp_path):
    section = values
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = 1
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as caught:
        check(file)
    assert str(file) in str(caught.value)
    assert re.search(rf"{re.escape(named)}\b", str(caught.value))


def test_wrong_values_are_all_named(values, tmp_path):
    values["subjects"]["subj01"]["number"] = 9
    values["windows"]["main"]["n_tr"] = "six"
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"(?s)subjects\.subj01\.number.*windows\.main\.n_tr"):
        check(file)


def test_values_never_change(values):
    with pytest.raises(ValidationError, match="frozen"):
        Config.model_validate(values).seed = 1


def test_base_is_merged_key_by_key(values):
    training = {"training": {"steps": 7}}
    values["runs"]["short"] = {"base": "dynadiff", **training}
    values["runs"]["shorter"] = {"base": "short", "finetune": "none"}
    config = Config.model_validate(values)
    base, shorter = config.run("dynadiff"), config.run("shorter")
    assert (shorter.training.steps, shorter.finetune) == (7, "none")
    assert shorter.training.model_copy(update={"steps": base.training.steps}) == base.training
    assert shorter.brain_module == base.brain_module
    assert base.training.steps == values["runs"]["dynadiff"]["training"]["steps"]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"a": {"base": "b"}, "b": {"base": "a"}}, "a -> b -> a is a circle"),
        ({"a": {"base": "a"}}, "a -> a is a circle"),
        ({"a": {"base": "dynadif"}}, "'dynadif' is not in `runs`"),
        ({"a": {"base": "dynadiff", "preprocessing": "fsl"}}, "'fsl' is not in `preprocessing`"),
        ({"a": {"base": "dynadiff", "generator": "sd"}}, "'sd' is not in `generators`"),
        ({"a": {"base": "dynadiff", "decoder": "nobody"}}, "'nobody'"),
    ],
)
def test_wrong_runs_are_refused(values, runs, message):
    values["runs"] |= runs
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(values)


def test_no_schedule_of_the_miniature_leaks_into_the_real_configuration():
    """Every model is trained as the main one: the paper names one schedule (appendix B)."""
    config = check(ROOT / "config" / "config.yaml", ROOT / "config" / "nsd.yaml")
    runs = {name: config.run(name) for name in config.run_names}
    main = runs["dynadiff"].training
    assert (main.steps, main.batch_size, main.warmup_steps) == (60_000, 320, 1000)
    assert main.learning_rate == 1e-3
    others = {
        "dynadiff_released": {"unconditional": "zeros", "learning_rate": 1e-4},
        "dynadiff_all_layers": {"device_batch_size": 20},  # for its memory; the same batch
    }
    for name, run in runs.items():
        if run.decoder == "dynadiff":
            assert run.training == main.model_copy(update=others.get(name, {})), name


def test_wrong_names_are_refused(values):
    values["test_sets"]["late"] = {"windows": ["mian+2"], "trials": "all"}
    with pytest.raises(ValidationError, match=r"test_sets\.late: 'mian' is not in `windows`"):
        Config.model_validate(values)
    del values["test_sets"]["late"]
    values["scopes"]["demo"]["subjects"] = ["subj09"]
    with pytest.raises(ValidationError, match="'subj09' is not in `subjects`"):
        Config.model_validate(values)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("main", ("main", 0)), ("main+2", ("main", 2)), ("main-8", ("main", -8))],
)
def test_window_names(name, parts):
    assert split_window_name(name) == parts


@pytest.mark.parametrize("name", ["Main", "main+", "main 2", "main+2+2", "+2", ""])
def test_wrong_window_names(name):
    with pytest.raises(ValueError, match="expected a name of `windows`"):
        split_window_name(name)


@pytest.mark.parametrize("shift", [-8, 0, 3])
def test_window_shift_is_in_samples(values, shift):
    config = Config.model_validate(values)
    main, shifted = config.window("main"), config.window(f"main{shift:+d}")
    assert (main.shift, shifted.shift) == (0, shift)
    assert (shifted.start_s, shifted.n_tr) == (main.start_s, main.n_tr)


def test_later_files_override_earlier_ones(tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text("seed: 5\nminiature: {noise: 2.5}\n")
    config = check(ROOT / "config" / "config.yaml", over)
    assert (config.seed, config.miniature.noise) == (5, 2.5)
    assert config.miniature.seed == DEFAULT["miniature"]["seed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "expected a YAML file"),
        ("- 1\n", "found list"),
        ("", "found none"),
        (None, "found no file"),
    ],
)
def test_unreadable_files_are_named(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        check(file)


def bomb(below):
    """Nine levels of nine aliases each: 9^9 values in a few lines."""
    levels = [f"l0: &l0 {below.format(*['x'] * 9)}"]
    levels += [f"l{n}: &l{n} {below.format(*[f'*l{n - 1}'] * 9)}" for n in range(1, 9)]
    return "\n".join([*levels, "runs: *l8"])


@pytest.mark.survives(
    "names",
    "A configuration file unfolds to billions of values, executes Python or names a key twice",
    "`config --check` refuses it at once; nothing is executed",
)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(f"[{', '.join(['{}'] * 9)}]"), "expected 1 to 100,000 values, found more"),
        (bomb(f"{{{{{', '.join(f'k{n}: {{}}' for n in range(9))}}}}}"), "expected 1 to 100,000"),
        ("seed: &a [*a]", "expected 1 to 100,000 values, found more"),
        ("# " + 1_000_000 * "x", "expected at most 1,000,000 characters"),
        ("seed: " + 2000 * "[", "expected a YAML file"),
        ("seed: !!python/object/apply:os.mkdir [PWNED]", "could not determine a constructor"),
        ("subjects:\n  subj01: {}\n  subj01: {}\n", "subj01: listed twice"),
        ("seed: \udcff", "expected a YAML file"),
    ],
)
def test_hostile_files_are_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        check(file)
    assert time.monotonic() - started < 5
    assert not (tmp_path / "PWNED").exists()


def test_command_line(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "boldvision", "config", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert "correct" in run("--check", "config/config.yaml").stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("dataset: 3\n")
    done = run("--check", str(wrong))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr


def test_documents_are_in_sync():
    again = "out of date: run `make docs`"
    begin, end = config_docs.MARKERS
    table = (ROOT / "config" / "README.md").read_text().split(begin)[1].split(end)[0]
    assert table == f"\n{config_docs.markdown()}", again
    assert config_docs.SCHEMA.read_text() == config_docs.schema(), again


def test_table_has_every_key_of_the_default():
    table = config_docs.markdown()
    for key in ("`s3.serve`", "`subjects.NAME.grid`", "`runs.NAME.training.learning_rate`"):
        assert table.count(key) == 1
    assert "| `windows.NAME.n_tr` | int ≥ 1, ≤ 225 | required | samples (TRs) |" in table


def test_schema_accepts_the_default(values):
    schema = json.loads(config_docs.schema())
    jsonschema.validate(values, schema)
    values["sed"] = 1
    with pytest.raises(jsonschema.ValidationError, match="'sed' was unexpected"):
        jsonschema.validate(values, schema)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training", {"stepz": 1}, r"^  runs\.dynadiff_time_resolved\.training\.stepz: there is"),
        ("training", {"steps": "many"}, r"^  runs\.dynadiff_time_resolved\.training\.steps: "),
        ("decoder", "nobody", r"^  runs\.dynadiff_time_resolved: .*'nobody'"),
        ("base", "dynadif", r"^  runs: 'dynadif' is not in `runs`"),
        ("generator", "sd", r"^  runs\.dynadiff_time_resolved: 'sd' is not in `generators`"),
    ],
)
def test_wrong_run_is_named(values, path, value, message):
    values["runs"]["dynadiff_time_resolved"][path] = value
    with pytest.raises(UserError) as error:
        load_config(values)
    assert re.search(message, str(error.value), re.MULTILINE)


def test_generator_without_revision_is_refused(values):
    values["generators"]["tiny"]["repository"] = "a/b"
    with pytest.raises(UserError, match=r"generators\.tiny: `repository` and `revision` need"):
        load_config(values)
