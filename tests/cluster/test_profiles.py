"""The profiles are accepted by Snakemake."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_args

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))
TOY = """
rule all:
    input: "trained"
rule train:
    output: "trained"
    resources: gpu=2
    shell: "touch {output}"
"""


def test_readme_names_every_profile():
    assert PROFILES == ["default", "slurm", "workstation"]
    readme = (ROOT / "profiles" / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_snakemake_accepts(name, tmp_path):
    if name == "slurm" and not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("snakemake-executor-plugin-slurm is optional")
    (tmp_path / "Snakefile").write_text(TOY)
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    profile = ["--workflow-profile", f"profiles/{name}"]
    command = [sys.executable, "-m", "snakemake", "--dry-run", *profile]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    most = yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
    found = int(re.search(r"gpu=(\d+)", done.stdout + done.stderr)[1])
    assert found == min(2, most.get("resources", {"gpu": 2})["gpu"])


@pytest.mark.survives(
    "jobs",
    "Ctrl-C while a file is written, in any profile or none",
    "The next run makes the unfinished file again",
)
@pytest.mark.parametrize("name", [None, "default", "workstation"])
def test_files_of_an_interrupted_job_are_made_again(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the profiles are those beside the Snakefile
    named = ["--workflow-profile", name] if name else []
    _parser, options = parse_args(["--snakefile", str(ROOT / "Snakefile"), *named])
    assert options.rerun_incomplete
    for profile in PROFILES:  # slurm is read only where its plug-in is installed
        text = (ROOT / "profiles" / profile / "profile.yaml").read_text()
        assert yaml.safe_load(text)["rerun-incomplete"] is True


def test_slurm_has_a_partition_for_gpus_and_one_without():
    folder = ROOT / "profiles" / "slurm"
    profile = yaml.safe_load((folder / "profile.yaml").read_text())
    assert folder / profile["slurm-partition-config"] == folder / "partitions.yaml"
    partitions = yaml.safe_load((folder / "partitions.yaml").read_text())["partitions"]
    gpus = [limits.get("max_gpu", 0) for limits in partitions.values()]
    assert min(gpus) == 0
    assert max(gpus) > 0
    (job,) = profile["config"]
    assert 0 < int(job.removeprefix("gpus_per_job=")) <= min(profile["resources"]["gpu"], max(gpus))


def test_every_rule_fits_a_partition_of_slurm():
    folder = ROOT / "profiles" / "slurm"
    partitions = yaml.safe_load((folder / "partitions.yaml").read_text())["partitions"].values()
    tries = 1 + yaml.safe_load((folder / "profile.yaml").read_text())["retries"]
    rules = [*ROOT.glob("workflow/rules/*.smk"), *ROOT.glob("boldvision/decoders/*/rules.smk")]
    bodies = [body for rule in rules for body in re.split("^rule ", rule.read_text(), flags=re.M)]
    stated = {body: re.search(r"^ +runtime=(\d+)", body, re.MULTILINE) for body in bodies}
    for body, runtime in stated.items():
        mem_mb = re.search(r"^ +mem_mb=(more_each_try\()?(\d+)(,| \*|\))", body, re.MULTILINE)
        needed = int(mem_mb[2]) * (tries if mem_mb[1] else 1) if mem_mb else 0
        fits = [
            limits
            for limits in partitions
            if ("max_gpu" in limits or "  gpu=" not in body)
            and int(runtime[1] if runtime else 0) <= limits["max_runtime"]
            and needed <= limits["max_mem_mb"]
        ]
        assert fits, body
    assert sum(map(bool, stated.values())) > 20


def test_only_what_a_network_makes_of_data_gets_more_memory_at_each_try():
    """Trainings are retried since their time or node ended, downloads since the network did."""
    rules = [*ROOT.glob("workflow/rules/*.smk"), *ROOT.glob("boldvision/decoders/*/rules.smk")]
    bodies = [body for rule in rules for body in re.split("^rule ", rule.read_text(), flags=re.M)]
    found = {body.partition(":")[0] for body in bodies if "mem_mb=more_each_try(" in body}
    assert found == {"encode_target", "reconstruct", "evaluate"}


@pytest.mark.parametrize("name", ["slurm", "workstation"])
def test_few_downloads_run_at_once(name):
    profile = yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
    assert 0 < profile["resources"]["downloads"] <= 8
    files = ["download", "betas", "fmriprep", "evaluate", "decoder_targets"]
    texts = "".join((ROOT / f"workflow/rules/{file}.smk").read_text() for file in files)
    rules = [body for body in re.split("^rule ", texts, flags=re.M) if "downloads=1," in body]
    assert len(rules) == 9
    assert all("    localrule: True\n" in body for body in rules)
