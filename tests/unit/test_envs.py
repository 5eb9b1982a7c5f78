"""The environments agree with each other and with what the library imports."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"
CONDA_NAMES = {
    "python-isal": "isal",
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "huggingface_hub": "huggingface-hub",
}
IMPORT_NAMES = {"PIL": "pillow", "skimage": "scikit-image", "yaml": "pyyaml", "botocore": "boto3"}
ROLES = {
    "signal": [
        "boldvision/datasets/nsd",
        "boldvision/signal",
        "boldvision/trials",
        "boldvision/datasets/miniature",
    ],
    "train": ["boldvision/generators", "boldvision/decoders", "boldvision/training"],
    "evaluate": ["boldvision/metrics"],
    "report": ["boldvision/report", "workflow/scripts"],
}


def pins(name):
    """Version by package of a requirements file."""
    return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (ENVS / name).read_text(), re.M))


def imports(*folders):
    """Packages, by the name pip knows, that the modules of folders import."""
    names = set()
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    foreign = names - sys.stdlib_module_names - {"boldvision"}
    return {IMPORT_NAMES.get(name, name).replace("_", "-") for name in foreign}


@pytest.mark.parametrize("role", ROLES)
def test_conda_environment_has_the_versions_of_the_lock(role):
    lock = pins("requirements.lock")
    environment = yaml.safe_load((ENVS / f"{role}.yaml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    python, *packages = environment["dependencies"]
    assert python == "python=3.11"
    for package in packages:
        name, version = package.split("=")
        assert lock[CONDA_NAMES.get(name, name)] == version, package


@pytest.mark.parametrize("role", ROLES)
def test_conda_environment_has_what_its_role_imports(role):
    environment = yaml.safe_load((ENVS / f"{role}.yaml").read_text())
    names = {package.split("=")[0] for package in environment["dependencies"]}
    known = {CONDA_NAMES.get(name, name) for name in names}
    elsewhere = set(pins("weights.lock")) | set(pins("optional.in")) | {"snakemake"}
    assert imports(*ROLES[role]) - elsewhere <= known


def test_everything_imported_is_pinned_by_name():
    elsewhere = set(pins("weights.in")) | set(pins("optional.in"))
    assert imports("boldvision", "workflow/scripts") - elsewhere <= set(pins("requirements.in"))


@pytest.mark.parametrize("name", ["requirements", "weights"])
def test_lock_has_what_was_asked_for(name):
    lock = pins(f"{name}.lock")
    assert pins(f"{name}.in").items() <= lock.items()


@pytest.mark.parametrize("name", ["requirements", "weights"])
def test_lock_has_hashes_and_no_address(name):
    text = (ENVS / f"{name}.lock").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ file|^-", text, re.M)
    for package in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[\w.-]+==[\w.]+( ; [^\n]+)? \\\n    --hash=sha256:[0-9a-f]{64}", package)


def test_optional_packages_are_pinned_and_not_locked():
    optional = pins("optional.in")
    assert set(optional) == {
        *("snakemake-executor-plugin-slurm", "deepspeed", "dreamsim", "fmriprep-docker")
    }
    assert not set(optional) & set(pins("requirements.lock"))
