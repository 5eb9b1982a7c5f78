"""What fMRIPrep is asked for: all of the stage `fmriprep` that decides what comes out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from boldvision.config import Fmriprep, FmriprepJob


@dataclass(frozen=True)
class Task:
    """One participant's run of fMRIPrep; all folders are absolute."""

    bids: Path
    out: Path
    work: Path
    participant: str
    task: str
    threads: int
    mem_mb: int


def command(task: Task, preprocessing: Fmriprep, job: FmriprepJob) -> list[str]:
    """Command that runs fMRIPrep with its default settings (paper, appendix D).

    Returns
    -------
    list of str
        Arguments, never read by a shell. Telemetry is off; the data are validated. Rest runs are
        left out.
    """
    options = [
        *("--participant-label", task.participant, "--task-id", task.task),
        *("--output-spaces", preprocessing.space),
        *("--nprocs", str(task.threads)),
        *("--mem_mb", str(task.mem_mb)),
        "--notrack",
    ]
    licence = Path(job.licence).absolute()
    if job.runtime == "docker":
        return [
            *("fmriprep-docker", str(task.bids), str(task.out), "participant"),
            *options,
            *("--work-dir", str(task.work), "--fs-license-file", str(licence)),
            *("--image", docker_image(preprocessing, job)),
            *("--user", f"{os.getuid()}:{os.getgid()}", "--env", "NO_ET", "1", "--no-tty"),
        ]
    inside = {
        f"{task.bids}": "/data:ro",
        f"{task.out}": "/out",
        f"{task.work}": "/work",
        f"{licence}": "/opt/freesurfer/license.txt:ro",
    }
    binds = [word for pair in inside.items() for word in ("--bind", ":".join(pair))]
    return [
        *("apptainer", "run", "--cleanenv", "--env", "NO_ET=1", *binds, str(job.image)),
        *("/data", "/out", "participant"),
        *options,
        *("--work-dir", "/work", "--fs-license-file", "/opt/freesurfer/license.txt"),
    ]


def docker_image(preprocessing: Fmriprep, job: FmriprepJob) -> str:
    """The image: the published one of the configured version, unless the job names another."""
    return job.image or f"nipreps/fmriprep:{preprocessing.version}"
