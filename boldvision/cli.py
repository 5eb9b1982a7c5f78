"""``python -m boldvision <stage>``: every stage of the workflow, with or without Snakemake."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from boldvision import plugins
from boldvision.errors import UserError
from boldvision.files import machine_fault, reading
from boldvision.launcher import end_with_launcher

STAGES = {
    "config": ("boldvision.config_docs", "check a configuration, or print its keys"),
    "plan": ("boldvision.estimate", "print what tables and figures cost"),
    "memory": ("boldvision.held_page", "print what trainings hold on a card"),
    "miniature": ("boldvision.datasets.miniature.bucket", "write the simulated bucket"),
    "serve": (
        "boldvision.datasets.miniature.serve",
        "serve a folder as an S3 bucket",
    ),
    "fetch": ("boldvision.datasets.nsd.fetch", "download from the bucket"),
    "captions": ("boldvision.datasets.nsd.captions", "list the captions of a subject's images"),
    "voxels": ("boldvision.datasets.nsd.voxels", "list the voxels of a region of interest"),
    "prepare": ("boldvision.datasets.nsd.prepare", "clean the BOLD series of one session"),
    "betas": ("boldvision.datasets.nsd.betas", "z-score the single-trial betas of one session"),
    "fmriprep": ("boldvision.signal.fmriprep", "run fMRIPrep on the raw data of one subject"),
    "prepare_fmriprep": (
        "boldvision.datasets.nsd.prepare_fmriprep",
        "clean its output of one session",
    ),
    "trials": ("boldvision.datasets.nsd.trials", "list the trials of one subject"),
    "split": ("boldvision.trials.stage", "say which trials train a decoder and which test it"),
    "model": ("boldvision.decoders.listing", "list what the stages of a model made"),
    "target": ("boldvision.targets.stage", "pass the images of one subject through a network"),
    "generator": ("boldvision.generators.fetch", "fetch and check a published generator"),
    "network": ("boldvision.networks.fetch", "fetch, check and convert a published network"),
    "pretrain": ("boldvision.generators.pretrain", "train the tiny generator"),
    "pretrain_network": ("boldvision.networks.stage", "train the small network of a kind"),
    "reconstruct": ("boldvision.decoders.reconstruct", "reconstruct the images of a test set"),
    "weights": ("boldvision.metrics.weights", "fetch and check the networks of the metrics"),
    "evaluate": ("boldvision.metrics.evaluate", "score reconstructions"),
    "benchmark": ("boldvision.benchmark.stage", "measure how fast this machine's GPU is"),
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
    if not argv or argv[0] not in (known := _stages()):
        lines = [f"  {name:<20} {about}" for name, about in known.items()]
        print("usage: python -m boldvision STAGE …\n\nstages:", *lines, sep="\n")
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    end_with_launcher()
    try:
        return _run(*argv) or 0
    except OSError as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        return _failed(argv[0], fault)
    except UserError as error:
        return _failed(argv[0], error)
    except ValueError as error:
        return _failed(argv[0], _settings_fault(error))


def _stages() -> dict[str, str]:
    """What each stage does, by name: the workflow's, then ``NAME.STAGE`` of every decoder."""
    own = {name: about for name, (_, about) in STAGES.items()}
    decoders = {name: plugins.stages(name) for name in plugins.found("decoders")}
    return own | {
        f"{decoder}.{stage}": about
        for decoder, stages in decoders.items()
        for stage, about in stages.items()
    }


def _run(stage: str, *arguments: str) -> int | None:
    if stage in STAGES:
        return importlib.import_module(STAGES[stage][0]).main(list(arguments))
    return importlib.import_module("boldvision.decoders.stage").main(stage, list(arguments))


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
