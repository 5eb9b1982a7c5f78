"""The rules keep the rules: Snakemake's, snakefmt's and the project's own."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SNAKEFILES = [
    ROOT / "Snakefile",
    *sorted(ROOT.glob("workflow/rules/*.smk")),
    *sorted(ROOT.glob("boldvision/decoders/*/rules.smk")),
]
RULES = {
    match[1]: (file, match[2])
    for file in SNAKEFILES
    for match in re.finditer(r"^rule (\w+):\n((?:(?:    .*)?\n)*)", file.read_text(), re.MULTILINE)
}
RUNNING = {name: rule for name, rule in RULES.items() if re.search("    (shell|script):", rule[1])}
SUBMITTED = {name: rule for name, rule in RUNNING.items() if "    localrule: True" not in rule[1]}
LIBRARY = sorted((ROOT / "boldvision").rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
TEXT = {".py", ".smk", ".md", ".rst", ".yaml", ".yml", ".toml", ".json", ".tsv", ".in", ".cff", ""}


@pytest.mark.parametrize("options", [[], ["--configfile", str(ROOT / "config" / "nsd.yaml")]])
def test_snakemake_has_no_advice(snakemake, options):
    assert "in a good condition" in snakemake("--lint", *options)


def test_snakefiles_are_formatted():
    command = [sys.executable, "-m", "snakefmt", "--check", *map(str, SNAKEFILES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_rules_are_found():
    assert len(RULES) > len(RUNNING) > 15
    assert {"all", "paper", "prepare_session", "check_known_answer"} <= set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_rule_begins_with_its_docstring(name):
    assert re.match(r'    """[A-Z].*\."""\n', RULES[name][1])


@pytest.mark.parametrize("name", RUNNING)
def test_rule_has_a_log_and_an_environment(name):
    file, body = RUNNING[name]
    assert re.search(r'^    log:\n        (f"{PATHS.logs}|"logs)/', body, re.MULTILINE)
    (environment,) = re.findall(r'^    conda:\n        (?:f?"(.*)"|JOBS.*)$', body, re.MULTILINE)
    if not environment:
        return  # the decoder's
    environment = environment.replace("{ROOT}", str(ROOT))
    environment = (file.parent / environment).resolve()
    assert environment.parent == ROOT / "envs"
    assert yaml.safe_load(environment.read_text())["dependencies"]


@pytest.mark.parametrize("name", SUBMITTED)
def test_rule_says_what_its_jobs_need_and_measures_it(name):
    body = SUBMITTED[name][1]
    assert re.search(
        r'^    benchmark:\n        (f"{PATHS.benchmarks}|"benchmarks)/', body, re.MULTILINE
    )
    (resources,) = re.findall(r"^    resources:\n((?: {8}.*\n)+)", body, re.MULTILINE)
    stated = re.findall(r"^ {8}(mem_mb|runtime)=", resources, re.MULTILINE)
    assert sorted(stated) == ["mem_mb", "runtime"]


def test_profiles_leave_the_needs_of_jobs_to_the_rules():
    for profile in ROOT.glob("profiles/*/profile.yaml"):
        text = profile.read_text()
        assert not re.findall("^ *(mem_mb|runtime|set-threads|set-resources):", text, re.MULTILINE)
        assert not [name for name in RUNNING if re.search(rf"\b{name}\b", text)], profile


@pytest.mark.parametrize("name", RUNNING)
def test_output_of_a_shell_command_goes_to_the_log(name):
    body = RUNNING[name][1]
    assert "shell:" not in body or body.rstrip().endswith('&> {log:q}"')


def test_captions_and_scripts_exist_and_are_used():
    named = {
        (file.parent / path).resolve()
        for file in SNAKEFILES
        for path in re.findall(r'"([^"\n]+\.(?:rst|py))"', file.read_text())
    }
    present = {*ROOT.glob("workflow/report/*.rst"), *ROOT.glob("workflow/scripts/*.py")}
    assert named == present


def test_snakefiles_are_short():
    for file in SNAKEFILES:
        assert len(file.read_text().splitlines()) <= 150
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) <= 120


def test_modules_and_scripts_are_short():
    for file in LIBRARY:
        assert len(file.read_text().splitlines()) <= 450, file
    for file in SCRIPTS:
        assert len(file.read_text().splitlines()) <= 60, file


def test_functions_are_short():
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in [*LIBRARY, *SCRIPTS]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= 50
    ]
    assert not long


def test_no_file_names_a_folder_of_one_machine():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    for file in files:
        if file.suffix in TEXT and file.is_file():
            found = re.findall(r"(?<![\w.})])/(?:work|root|home|Users)/\S*", file.read_text())
            assert not found, file
