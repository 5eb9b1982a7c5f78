"""``python -m boldvision <stage>``: every stage of the workflow, with or without Snakemake."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from boldvision.errors import UserError
from boldvision.files import machine_fault, reading
from boldvision.launcher import end_with_launcher

STAGES = {
    "config": ("boldvision.config_docs", "check a configuration, or print its keys"),
    "plan": ("boldvision.plan", "print what tables and figures cost"),
    "miniature": ("boldvision.datasets.miniature.bucket", "write the simulated bucket"),
    "serve": (
        "boldvision.datasets.miniature.serve",
        "serve a folder as an S3 bucket",
    ),
    "fetch": ("boldvision.datasets.nsd.fetch", "download from the bucket"),
    "voxels": ("boldvision.signal.voxels", "list the voxels of a region of interest"),
    "prepare": ("boldvision.signal.prepare", "clean the BOLD series of one session"),
    "betas": ("boldvision.signal.betas", "z-score the single-trial betas of one session"),
    "fmriprep": ("boldvision.signal.fmriprep", "run fMRIPrep on the raw data of one subject"),
    "prepare_fmriprep": ("boldvision.signal.prepare_fmriprep", "clean its output of one session"),
    "trials": ("boldvision.trials.table", "list the trials of one subject and their splits"),
    "latents": ("boldvision.generators.latents", "encode the images of one subject"),
    "generator": ("boldvision.generators.fetch", "fetch and check a published generator"),
    "pretrain": ("boldvision.generators.pretrain", "train the tiny generator"),
    "train": ("boldvision.decoders.train", "train a decoder"),
    "reconstruct": ("boldvision.decoders.reconstruct", "reconstruct the images of a test set"),
    "weights": ("boldvision.metrics.weights", "fetch and check the networks of the metrics"),
    "evaluate": ("boldvision.metrics.evaluate", "score reconstructions"),
    "gpu": ("boldvision.gpu", "run a command on GPUs of its own"),
}


def settings_from(text: str) -> dict[str, Any]:
    """Settings given as JSON, or as the path of a JSON file.

    Raises
    ------
    UserError
        It is neither, or not an object with keys.
    """
    given = text.lstrip().startswith("{")
    name = "--settings" if given else text
    with reading(name, "a JSON object of settings", "correct it, or give the path of another file"):
        settings = json.loads(text if given else Path(text).read_text())
        if not isinstance(settings, dict):
            raise ValueError(f"a {type(settings).__name__}")
    return settings


def main(argv: list[str] | None = None) -> int:
    """Run the named stage; import nothing else."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in STAGES:
        lines = [f"  {name:<16} {about}" for name, (_, about) in STAGES.items()]
        print("usage: python -m boldvision STAGE …\n\nstages:", *lines, sep="\n")
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    end_with_launcher()
    try:
        return importlib.import_module(STAGES[argv[0]][0]).main(argv[1:]) or 0
    except OSError as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        return _failed(argv[0], fault)
    except UserError as error:
        return _failed(argv[0], error)
    except ValueError as error:
        return _failed(argv[0], _settings_fault(error))


def _settings_fault(error: ValueError) -> UserError:
    """What is wrong with the settings of a stage; any other error is raised."""
    from pydantic import ValidationError

    from boldvision.config.messages import messages

    if not isinstance(error, ValidationError):
        raise error
    return UserError(f"--settings: {'; '.join(messages(error))}")


def _failed(stage: str, error: UserError) -> int:
    print(f"boldvision {stage}: {error}", file=sys.stderr)
    return 1
