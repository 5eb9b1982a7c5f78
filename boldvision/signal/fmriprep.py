"""The `fmriprep` stage: a subject's raw BIDS data -> fMRIPrep's derivatives, in a container."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from boldvision.children import run_program
from boldvision.cli import settings_from
from boldvision.config import Fmriprep, FmriprepJob
from boldvision.errors import UserError
from boldvision.files import only_job, reading, replace_folder
from boldvision.signal.fmriprep_command import Task, command, docker_image

REGISTRATION = "surfer.nmr.mgh.harvard.edu/registration.html"


def require_licence(path: Path) -> None:
    """Make sure that a file looks like FreeSurfer's licence, of which fMRIPrep learns hours later.

    Raises
    ------
    UserError
        It is missing or empty, or its lines are not an address, a number and two keys.
    """
    get_one = f"get one, free, from {REGISTRATION} and set `licence` in the configuration"
    with reading(path, "FreeSurfer's licence", get_one):
        lines = path.read_text().split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise UserError(f"{path}: FreeSurfer's licence is empty; {get_one}")
    looks_right = (
        len(lines) >= 4
        and "@" in lines[0]
        and lines[1].isdigit()
        and lines[2].startswith("*")
        and lines[3].startswith("FS")
    )
    if not looks_right:
        raise UserError(
            f"{path}: expected the four lines of FreeSurfer's licence (e-mail address, number, a "
            f"key that begins with *, one that begins with FS), found {len(lines)} other lines; "
            f"{get_one}"
        )


def require_container(preprocessing: Fmriprep, job: FmriprepJob) -> None:
    """Make sure that the container's programs and image are there.

    Raises
    ------
    UserError
        One is missing.
    """
    programs = ["fmriprep-docker", "docker"] if job.runtime == "docker" else ["apptainer"]
    for program in programs:
        if shutil.which(program) is None:
            hint = "see envs/optional.in" if program == "fmriprep-docker" else "install it"
            raise UserError(
                f"{program}: no such program on the PATH; {hint}, or choose another `runtime`"
            )
    if job.runtime == "apptainer":
        if not Path(str(job.image)).is_file():
            raise UserError(
                f"{job.image}: no such file; build the image with `apptainer build {job.image} "
                f"docker://nipreps/fmriprep:{preprocessing.version}`"
            )
        return
    image = docker_image(preprocessing, job)
    found = subprocess.run(
        ["docker", "image", "inspect", image], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise UserError(
            f"Docker has no image {image} ({found.stderr.strip()}); run `docker pull {image}`"
        )


def stop_containers(folder: Path) -> None:
    """Stop the containers of Docker that see a folder: they outlive the program that began them."""
    for container in _docker("ps", "--quiet").split():
        mounts = "{{range .Mounts}}{{println .Source}}{{end}}"
        if str(folder) in _docker("inspect", "--format", mounts, container).splitlines():
            print(f"{folder}: stopping the container {container}, which still works there")
            _docker("stop", container)


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False).stdout


def run_fmriprep(task: Task, preprocessing: Fmriprep, job: FmriprepJob) -> None:
    """Run fMRIPrep; `task.out` appears when it has succeeded, and `task.work` goes.

    An interrupted run is taken up again from `task.work` and the partial output beside `task.out`.
    fMRIPrep ends with this process.

    Raises
    ------
    UserError
        The licence, a program or the image is missing, another job works on the same output, the
        interrupted run was one of another version, or fMRIPrep fails.
    """
    require_licence(Path(job.licence))
    require_container(preprocessing, job)
    with only_job(task.out):
        _go_on(task, preprocessing, job)


def _go_on(task: Task, preprocessing: Fmriprep, job: FmriprepJob) -> None:
    """Run fMRIPrep from where it was."""
    partial = task.out.with_name(f"{task.out.name}.partial")
    if job.runtime == "docker":
        stop_containers(partial)  # of a job that was killed
    if not partial.exists():
        shutil.rmtree(task.work, ignore_errors=True)  # of a run that was given up
    for folder in (partial, task.work):
        folder.mkdir(parents=True, exist_ok=True)
    version = partial / "fmriprep_version.txt"
    _require_version(version, preprocessing.version)
    # FreeSurfer's marks of a run that was killed; it would refuse to go on.
    for mark in partial.glob("sourcedata/freesurfer/*/scripts/IsRunning*"):
        mark.unlink()
    argv = command(replace(task, out=partial), preprocessing, job)
    print(*argv, flush=True)
    try:
        code = run_program(argv)
    except BaseException:
        if job.runtime == "docker":
            stop_containers(partial)
        raise
    if code or not (partial / f"sub-{task.participant}").is_dir():
        raise UserError(
            f"fMRIPrep ended with code {code} and is not complete; its reports are in {partial}. "
            f"Run again to go on from {task.work}"
        )
    version.unlink()
    replace_folder(partial, task.out)
    shutil.rmtree(task.work, ignore_errors=True)


def _require_version(file: Path, version: str) -> None:
    """Make sure that an interrupted run goes on with the version that began it."""
    begun = file.read_text() if file.exists() else version
    if begun != version:
        raise UserError(
            f"{file.parent}: the unfinished output of fMRIPrep {begun}, while `version` is "
            f"{version}; remove that folder to begin anew, or set `version` back"
        )
    file.write_text(version)


def main(argv: list[str]) -> None:
    """Run fMRIPrep on one subject."""
    parser = argparse.ArgumentParser(prog="boldvision fmriprep", description=__doc__)
    parser.add_argument("--bids", type=Path, required=True, help="raw BIDS dataset")
    parser.add_argument("--participant", required=True, help="its label, as in 01")
    parser.add_argument("--task", required=True, help="BIDS's name of the task, as in nsdcore")
    parser.add_argument("--settings", required=True, help="JSON with key `preprocessing`")
    parser.add_argument("--job", required=True, help="JSON: `job` of the preprocessing")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--mem-mb", type=int, required=True, help="memory, MB")
    parser.add_argument("--out", type=Path, required=True, help="folder of the derivatives")
    arguments = parser.parse_args(argv)

    job = FmriprepJob(**settings_from(arguments.job))
    task = Task(
        arguments.bids.absolute(),
        arguments.out.absolute(),
        Path(job.work).absolute(),
        arguments.participant,
        arguments.task,
        arguments.threads,
        arguments.mem_mb,
    )
    run_fmriprep(task, Fmriprep(**settings_from(arguments.settings)["preprocessing"]), job)
