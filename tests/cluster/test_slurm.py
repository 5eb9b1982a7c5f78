"""The profile `slurm` on a real Slurm, where it is installed."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from one_node import Cluster, missing, wait

from tests.unit import decoder_data

ROOT = Path(__file__).parents[2]
STEPS, MINUTES = 300, 4000
"""Of a training that lasts seconds, and of one that lasts longer than `runtime` below, a minute."""
PATIENT = ["--slurm-init-seconds-before-status-checks", "1", "--slurm-status-command", "squeue"]
FETCH = """
rule all:
    input: expand("prepared{i}", i=range(4))
rule fetch:
    output: temp("raw{i}")
    localrule: True
    resources: downloads=1
    shell: "echo + >> log; sleep 0.5; echo - >> log; echo ${{SLURM_JOB_ID:-login}} > {output}"
rule prepare:
    input: expand("raw{i}", i=range(4))
    output: expand("prepared{i}", i=range(4))
    resources: mem_mb=400, runtime=1
    shell: "for i in 0 1 2 3; do cat raw$i > prepared$i; echo $SLURM_JOB_ID >> prepared$i; done"
"""
TRAIN = """
rule train:
    output: directory("model/train")
    resources: mem_mb=1500, runtime=1
    shell: {command!r}
"""

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, Cluster(Path(folder)) as cluster:
        yield cluster


def snakemake(cluster, folder, *options):
    """Start Snakemake on the cluster; its profile is the project's."""
    (folder / "profiles").symlink_to(ROOT / "profiles")
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *PATIENT]
    path = f"{Path(sys.executable).parent}:{cluster.environment['PATH']}"
    searched = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = cluster.environment | {"PATH": path, "PYTHONPATH": searched}
    with (folder / "printed").open("w") as printed:
        return subprocess.Popen(
            [*command, *options], cwd=folder, env=environment, stdout=printed, stderr=printed
        )


def finish(process, folder):
    assert process.wait(timeout=240) == 0, (folder / "printed").read_text()


@pytest.mark.survives(
    "networks",
    "A cluster's compute nodes have no network, its login node has",
    "Downloads run where Snakemake runs, no more at once than the profile says, all else as jobs",
)
def test_downloads_stay_on_the_login_node(cluster, tmp_path):
    (tmp_path / "Snakefile").write_text(FETCH)
    finish(snakemake(cluster, tmp_path, "--resources", "downloads=2"), tmp_path)
    running = most = 0
    for sign in (tmp_path / "log").read_text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert most == 2
    where, job = (tmp_path / "prepared0").read_text().split()
    assert where == "login"
    assert job.isdigit()


@pytest.fixture
def training(cluster, tmp_path, request):
    """A training of so many steps that the cluster runs, at its first checkpoint."""
    generator = decoder_data.write_generator(tmp_path / "generator")
    data = [decoder_data.write_subject(tmp_path, "subj01")]
    arguments = decoder_data.train_arguments(
        generator, data, Path("model"), steps=request.param, checkpoint_every_s=0
    )
    words = [sys.executable, "-m", "boldvision", *arguments]
    command = f"{shlex.join(words)} >> trained 2>&1".replace("{", "{{").replace("}", "}}")
    (tmp_path / "Snakefile").write_text(TRAIN.format(command=command))
    process = snakemake(cluster, tmp_path)
    wait(lambda: checkpoint(tmp_path) or process.poll(), 120)
    yield process
    process.kill()


def checkpoint(folder):
    """The step of the last checkpoint; 0: there is none."""
    found = folder.glob("model/train.checkpoint/*/step-????????.*")
    return max((int(path.name[5:13]) for path in found), default=0)


@pytest.mark.survives(
    "jobs",
    "Slurm takes the node from a training for a job of a higher partition; somebody cancels it",
    "Requeued by Slurm, or submitted again by Snakemake, it goes on from its last checkpoint",
)
@pytest.mark.parametrize("training", [STEPS], indirect=True)
def test_a_preempted_training_goes_on(cluster, training, tmp_path):
    (job,) = cluster.jobs()
    stopped_at = checkpoint(tmp_path)
    urgent = ["--partition=urgent", "--exclusive", "--mem=100", "--output=/dev/null", "--wrap=true"]
    cluster.run("sbatch", *urgent)
    wait(lambda: cluster.jobs() == {job: "PENDING"}, 20)
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # not in two minutes
    wait(lambda: checkpoint(tmp_path) > stopped_at + 20, 60)
    assert cluster.jobs() == {job: "RUNNING"}
    cluster.run("scancel", job)
    finish(training, tmp_path)
    record = json.loads((tmp_path / "model/train/training.json").read_text())
    assert stopped_at + 20 < record["resumed_at"] < STEPS
    assert record["losses"][-1]["step"] == STEPS


@pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="takes minutes: BOLDVISION_SLOW=1")
@pytest.mark.survives(
    "jobs",
    "A training takes longer than a partition of Slurm allows",
    "Snakemake submits it again, and it goes on from its last checkpoint",
)
@pytest.mark.parametrize("training", [MINUTES], indirect=True)
def test_a_training_that_ran_out_of_time_goes_on(cluster, training, tmp_path):
    (first,) = cluster.jobs()
    wait(lambda: first not in cluster.jobs(), 180)
    assert "JobState=TIMEOUT" in cluster.run("scontrol", "show", "job", first)
    stopped_at = checkpoint(tmp_path)
    assert stopped_at > 0
    wait(lambda: checkpoint(tmp_path) > stopped_at, 60)
