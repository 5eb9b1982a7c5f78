"""How fast a decoder trains and samples, whichever it is."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.state import AcceleratorState, GradientState

from boldvision import costs, plugins
from boldvision.benchmark.data import Parts
from boldvision.benchmark.timing import calls_per_s
from boldvision.config import BaseRun, Training
from boldvision.decoders.base import Job, SubjectData, Trained
from boldvision.decoders.record import RECORD, write_model_record
from boldvision.device import best_device
from boldvision.plan import Plan
from boldvision.runs_table import Evaluation
from boldvision.seeds import numpy_generator
from boldvision.speeds import told

WARM_STEPS, LEAST_STEPS, MOST_STEPS = 2, 4, 1000


def measure_decoder(
    plan: Plan,
    e: Evaluation,
    parts: Parts,
    data: SubjectData,
    model: Path,
    peak: float,
    seconds: float,
) -> dict[str, Any]:
    """Operations per second of each stage of training, and of sampling.

    Every stage is the decoder's own, run twice: a few steps that warm up, then as many as take
    about `seconds`. Loading is not counted.
    """
    run = plan.config.run(e.run)
    found: dict[str, Any] = {"run": e.run, "settings": told(plan.config, e.run)}
    works = costs.training(plan, costs.Model(e.run, e.subject, e.window, 0))
    for stage, work in works.items():

        def train(steps: int, stage: str = stage) -> dict[str, Any]:
            return _train(plan, e, stage, steps, parts, data, model)

        rate = train(WARM_STEPS).get("samples_per_second")
        if rate:
            sections = _trainings(run)
            batch = sections.get(stage, next(iter(sections.values()))).batch_size
            steps = int(np.clip(seconds * rate / batch, LEAST_STEPS, MOST_STEPS))
            rate = train(steps)["samples_per_second"]
            found[stage] = _speed("samples_per_s", rate, work.teraflop, peak)
    write_model_record(model, run.decoder, works)
    found["pictures"] = _measure_pictures(plan, e, parts, data, model, peak, seconds)
    return found


def _train(
    plan: Plan,
    e: Evaluation,
    stage: str,
    steps: int,
    parts: Parts,
    data: SubjectData,
    model: Path,
) -> dict[str, Any]:
    """Run a stage as in a process that just began; its record, if it writes one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    out, checkpoints = model / stage, model / "checkpoints"
    for folder in (out, checkpoints):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    job = Job(
        run=_with_steps(plan.config.run(e.run), steps),
        data=[data],
        window=plan.config.window(e.window),
        generators=parts.generators,
        networks=parts.networks,
        seed=0,
        model=model,
        start=None,
        out=out,
        checkpoints=checkpoints,
    )
    plugins.defined("decoders", job.run.decoder, stage, "main")(job)
    gc.collect()  # networks that accelerate prepared refer to themselves
    shutil.rmtree(checkpoints)
    record = out / RECORD
    return json.loads(record.read_text()) if record.exists() else {}


def _measure_pictures(
    plan: Plan,
    e: Evaluation,
    parts: Parts,
    data: SubjectData,
    model: Path,
    peak: float,
    seconds: float,
) -> dict[str, Any]:
    run, window = plan.config.run(e.run), plan.config.window(e.window)
    load = plugins.defined("decoders", run.decoder, "decoder", "load")
    frozen = parts.generators, parts.networks
    decoder = load(Trained(run, model, *frozen, data, 0, best_device()))
    batch = run.reconstruction.batch_size
    shape = batch, window.n_tr, plan.config.subjects[data.name].voxels
    windows = numpy_generator(0, "benchmark", "windows").standard_normal(shape, np.float32)
    if hasattr(decoder, "look_at"):
        decoder.look_at(iter([windows]), data.name)
    keys = list(range(batch))
    rate = batch * calls_per_s(lambda: decoder.reconstruct(windows, data.name, keys), seconds)
    return _speed("pictures_per_s", rate, costs.picture(plan, e.run).teraflop, peak)


def _speed(name: str, rate: float, teraflop: float, peak: float) -> dict[str, float]:
    return {name: rate, "teraflop_per_s": rate * teraflop, "share": rate * teraflop / peak}


def _trainings(run: BaseRun) -> dict[str, Training]:
    """Sections of a run that are settings of an optimization."""
    return {name: value for name, value in run if isinstance(value, Training)}


def _with_steps(run: BaseRun, steps: int) -> BaseRun:
    few = {"steps": steps, "warmup_steps": 0, "checkpoint_every_s": 1e6}
    sections = {name: value.model_copy(update=few) for name, value in _trainings(run).items()}
    return run.model_copy(update=sections)
