"""Measure how fast this machine's GPU trains, samples, encodes and scores."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from boldvision import costs
from boldvision.benchmark.data import Parts, random_subject
from boldvision.benchmark.decoders import measure_decoder
from boldvision.benchmark.scoring import measure_scores
from boldvision.benchmark.targets import measure_target
from boldvision.benchmark.timing import forget_memory, memory_gb, peak_teraflop_per_s
from boldvision.cli import settings_from
from boldvision.config.load import load_config
from boldvision.files import atomic, in_one_line
from boldvision.plan import Plan
from boldvision.runs_table import Evaluation
from boldvision.training import environment


def main(argv: list[str]) -> None:
    """Stage `benchmark`: write the JSON that `boldvision.speeds` reads, and print it."""
    parser = argparse.ArgumentParser(prog="boldvision benchmark", description=__doc__)
    parser.add_argument("--settings", required=True, help="the configuration: JSON, or its path")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10, help="that each part is measured for")
    parser.add_argument("--images", type=int, default=64, help="random images")
    options = parser.parse_args(argv)
    environment.believe_launcher()
    plan = Plan(load_config(settings_from(options.settings)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out.parent, prefix=".benchmark.") as scratch:
        found = measure(plan, Path(scratch), options.seconds, options.images)
    with atomic(options.out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(_without_settings(found), indent=1))


def measure(plan: Plan, scratch: Path, seconds: float, images: int) -> dict[str, Any]:
    """All parts; one that fails says so in its place.

    Parameters
    ----------
    plan : Plan
    scratch : Path
        For random data, and random weights of generators and networks that are not there: up to
        3 GB each.
    seconds : float
        That each part is measured for.
    images : int

    Returns
    -------
    dict
        JSON values. Speeds are of the second run of each part, on warm data.
    """
    began, peak = time.monotonic(), peak_teraflop_per_s()
    parts = Parts(plan.config, scratch)
    found: dict[str, Any] = {
        **device(),
        "peak_teraflop_per_s": peak,
        "weights": parts.weights,
        "targets": {},
        "decoders": {},
    }
    for e in chosen(plan):
        run = plan.config.run(e.run)
        parts.add(run)
        folder = scratch / run.decoder
        data = random_subject(folder, plan.config, e.run, e.subject, images)
        for name in run.target_names():
            speed = _part(measure_target, plan, name, parts, data)
            found["targets"][name] = speed
        speed = _part(measure_decoder, plan, e, parts, data, folder / "model", peak, seconds)
        found["decoders"][run.decoder] = speed
        shutil.rmtree(folder)
    found["scores"] = _part(measure_scores, plan.config, images, seconds)
    found["seconds"] = time.monotonic() - began
    return found


def chosen(plan: Plan) -> Iterator[Evaluation]:
    """Of each decoder that computes in its training, the first evaluation of the scope."""
    done = set()
    for item in plan.items_of(plan.config.scope):
        for e in plan.items[plan.config.scope, item]:
            run = plan.config.run(e.run)
            if run.decoder in done or run.pretrained:
                continue
            done.add(run.decoder)
            model = costs.Model(e.run, e.subject, e.window, 0)
            if any(work.teraflop for work in costs.training(plan, model).values()):
                yield e


def device() -> dict[str, Any]:
    """What the numbers are of."""
    on_card = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if on_card else f"CPU, {torch.get_num_threads()} threads"
    return {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda}


def _part(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `function` measures, with the memory that it took, or how it failed."""
    forget_memory()
    try:
        return function(*arguments) | {"memory_gb": memory_gb()}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {in_one_line(error)}"}


def _without_settings(found: Any) -> Any:
    if isinstance(found, dict):
        return {k: _without_settings(v) for k, v in found.items() if k != "settings"}
    return found
