"""What the tables and figures cost: models, hours and disk, from the plan and a few rates.

Nothing is read but the configuration, the runs table and, where asked, which files are there. An
item is a set of *pieces*, files that a job makes; items share pieces, so an item costs what the
items above it have not paid for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from boldvision.config import Betas, DynadiffRun, Fmriprep, Generator, Lora, Preprocessing
from boldvision.datasets.nsd.runs import FILE_VOLUMES, TASK_RUNS, TRIALS_PER_SESSION, VOLUMES
from boldvision.runs_table import Evaluation
from boldvision.shipped import shipped
from boldvision.workflow import Plan

FSAVERAGE5 = 20_484
"""Vertices, as in :mod:`boldvision.signal.surface`, which needs packages that a plan does not."""

VAE_FACTOR, LATENT_CHANNELS = 8, 4
"""Of the KL-f8 autoencoders of both generators."""

COMPRESSED = {"time series": 0.33, "betas": 0.45, "raw": 0.5}
"""Size of a gzip file of int16 volumes, as a fraction of the volumes'. Estimates."""

RAW_VOLUME = (120, 120, 84, 188)
"""Grid and volumes of a raw BOLD run of NSD."""


@dataclass(frozen=True)
class Model:
    """A model to be trained; `subjects` and `window` as in its path."""

    run: str
    subjects: str
    window: str
    seed: int

    @property
    def path(self) -> str:
        """Path below ``models/``."""
        return f"{self.run}/{self.subjects}/{self.window}/seed-{self.seed}"


@dataclass(frozen=True)
class Piece:
    """What one job makes.

    Attributes
    ----------
    stage
        `images`, `clean series`, `latents`, `models`, `mean images`, `reconstructions` or `scores`.
    hours
        Of one GPU, or of one core without GPUs; downloads and preprocessing count as none.
    bytes
        On disk.
    """

    stage: str
    path: str
    hours: float
    bytes: float


@dataclass(frozen=True)
class Cost:
    """What is left to do for an item.

    Attributes
    ----------
    models
        Models that the item needs.
    new
        Of these, models that no item above it needs.
    trained
        Of all its models, those that are there.
    mean_images
        Averages over training images, which cost nothing.
    training_hours, testing_hours
        Of one GPU, for new pieces that are not there: training; reconstruction and scores.
    bytes
        Disk for these pieces.
    """

    item: str
    models: int
    new: int
    trained: int
    mean_images: int
    training_hours: float
    testing_hours: float
    bytes: float

    @property
    def hours(self) -> float:
        """Training and testing, hours of one GPU."""
        return self.training_hours + self.testing_hours


def costs(plan: Plan, scope: str, items: Iterable[str], measured: bool = True) -> list[Cost]:
    """Costs of items in this order, then of all together.

    Parameters
    ----------
    plan
        The experiments.
    scope
        For how many subjects and shifts.
    items
        Names of tables and figures.
    measured
        Whether to look at what is there: finished pieces cost nothing more, and a run that has a
        trained model goes on at its speed. Else the result depends on the configuration alone.

    Returns
    -------
    list of Cost
        One per item, and `total`.
    """
    found, paid, everything = [], set[str](), dict[str, Piece]()
    for item in items:
        needed = pieces(plan, plan.items[scope, item], measured)
        found.append(_cost(item, needed, paid, measured))
        paid |= set(needed)
        everything |= needed
    return [*found, _cost("total", everything, set(), measured)]


def models(plan: Plan, evaluations: Iterable[Evaluation]) -> list[Model]:
    """Models behind evaluations, each once; a model that another starts from comes before it."""
    found: dict[Model, None] = {}
    for e in evaluations:
        start = getattr(plan.config.run(e.run), "pretrained", None)
        if start:
            found[Model(start.run, "+".join(start.subjects), e.window, e.seed)] = None
        found[Model(e.run, e.subjects, e.window, e.seed)] = None
    return list(found)


def pieces(plan: Plan, evaluations: list[Evaluation], measured: bool = False) -> dict[str, Piece]:
    """All pieces of an item by their path, from the images to the scores."""
    return {piece.path: piece for piece in _pieces(plan, evaluations, measured)}


def disk_by_stage(plan: Plan, scope: str) -> dict[str, float]:
    """Bytes that the items of a scope need in all, by stage, in the order of the stages."""
    everything: dict[str, Piece] = {}
    for item in plan.items_of(scope):
        everything |= pieces(plan, plan.items[scope, item])
    total = dict.fromkeys(("images", "clean series", "latents", "models", "reconstructions"), 0.0)
    for piece in everything.values():
        if piece.stage in total:
            total[piece.stage] += piece.bytes
    return total


def in_flight(plan: Plan, scope: str) -> dict[str, float]:
    """Bytes of what one job of a scope downloads, which are removed once prepared."""
    used = {
        (plan.config.run(e.run).preprocessing, e.subject)
        for item in plan.items_of(scope)
        for e in plan.items[scope, item]
    }
    found: dict[str, float] = {}
    for name, subject in used:
        what, size = _raw(plan, plan.config.preprocessing[name], subject)
        found[what] = max(size, found.get(what, 0.0))
    return {what: found[what] for what in sorted(found) if found[what]}


@cache
def trained_parameters(plan: Plan, model: Model) -> int:
    """Numbers in a model's file, counted from the networks themselves, without their weights."""
    import torch

    from boldvision.decoders.dynadiff.brain_module import BrainModule

    run = plan.config.run(model.run)
    if not isinstance(run, DynadiffRun):
        return 3 * run.image_px**2
    generator = plan.config.generators[run.generator]
    preprocessing = plan.config.preprocessing[run.preprocessing]
    voxels = {name: _voxels(plan, preprocessing, name) for name in model.subjects.split("+")}
    with torch.device("meta"):
        brain_module = BrainModule(
            voxels,
            plan.config.window(model.window).n_tr,
            generator.tokens,
            generator.width,
            run.brain_module,
        )
    learned = run.training.unconditional == "learned"
    return (
        sum(parameter.numel() for parameter in brain_module.parameters())
        + learned * generator.tokens * generator.width
        + _trained_of_unet(generator, run.finetune, run.lora)
    )


def samples_per_s(plan: Plan, run: str, measured: bool) -> float:
    """Training samples per GPU and second: of the run's own models, or as configured."""
    folder = Path(plan.config.results, "models", run)
    records = folder.glob("*/*/seed-*/training.json") if measured else ()
    rates = []
    for file in records:
        record = json.loads(file.read_text())
        rates.append(record.get("samples_per_second", 0) / record.get("processes", 1))
    rates = [rate for rate in rates if rate]
    return sum(rates) / len(rates) if rates else plan.config.costs.train_samples_per_s


def pictures_per_window(plan: Plan, evaluation: Evaluation) -> int:
    """Pictures of one test window at most: none leaves its run, no image of a test run repeats."""
    config = plan.config
    design, sessions = config.design, config.subjects[evaluation.subject].sessions
    if plan.config.run(evaluation.run).split != "standard":
        return round(config.time_resolved_test_runs * TRIALS_PER_SESSION / TASK_RUNS)
    if config.test_sets[evaluation.test_set].trials != "all":
        return design.shared_images
    shared = design.shared_images / design.images_per_subject
    return round(sessions * TRIALS_PER_SESSION * shared)


def _pieces(plan: Plan, evaluations: list[Evaluation], measured: bool) -> Iterator[Piece]:
    trained = models(plan, evaluations)
    subjects = {(m.run, name) for m in trained for name in m.subjects.split("+")}
    tested = {(e.run, e.subject) for e in evaluations}
    for run, subject in sorted(subjects | tested):
        yield _images(plan, subject)
        settings = plan.config.run(run)
        yield from _series(plan, settings.preprocessing, subject)
        if isinstance(settings, DynadiffRun):
            yield _latents(plan, settings.generator, subject)
    yield from (_model(plan, model, measured) for model in trained)
    for e in evaluations:
        yield from _test(plan, e)


def _images(plan: Plan, subject: str) -> Piece:
    design = plan.config.design
    size = design.images_per_subject * design.image_px**2 * 3
    return Piece("images", f"{plan.config.resources}/images/{subject}.h5", 0, size)


def _series(plan: Plan, name: str, subject: str) -> Iterator[Piece]:
    preprocessing = plan.config.preprocessing[name]
    samples = {"nsd_prep": TASK_RUNS * VOLUMES, "betas": TRIALS_PER_SESSION}
    if isinstance(preprocessing, Fmriprep):
        samples["fmriprep"] = TASK_RUNS * preprocessing.volumes
    itemsize = {"float16": 2, "float32": 4}[preprocessing.dtype]
    size = samples[preprocessing.kind] * _voxels(plan, preprocessing, subject) * itemsize
    for session in range(1, plan.config.subjects[subject].sessions + 1):
        path = f"{plan.config.results}/bold/{name}/{subject}/session{session:02d}.npy"
        yield Piece("clean series", path, 0, size)


def _voxels(plan: Plan, preprocessing: Preprocessing, subject: str) -> int:
    on_surface = isinstance(preprocessing, Fmriprep)
    return FSAVERAGE5 if on_surface else plan.config.subjects[subject].voxels


def _latents(plan: Plan, name: str, subject: str) -> Piece:
    side = plan.config.generators[name].image_px // VAE_FACTOR
    # mean and log-variance, float16
    size = plan.config.design.images_per_subject * LATENT_CHANNELS * side**2 * 2 * 2
    return Piece("latents", f"{plan.config.results}/latents/{name}/{subject}.h5", 0, size)


def _model(plan: Plan, model: Model, measured: bool) -> Piece:
    path = f"{plan.config.results}/models/{model.path}/training.json"
    size = 4 * trained_parameters(plan, model)
    run = plan.config.run(model.run)
    if not isinstance(run, DynadiffRun):
        return Piece("mean images", path, 0, size)
    samples = run.training.steps * run.training.batch_size
    seconds = plan.config.costs.job_s + samples / samples_per_s(plan, model.run, measured)
    return Piece("models", path, seconds / 3600, size)


def _test(plan: Plan, e: Evaluation) -> Iterator[Piece]:
    rates, run = plan.config.costs, plan.config.run(e.run)
    pictures = pictures_per_window(plan, e) * len(plan.config.test_sets[e.test_set].windows)
    if isinstance(run, DynadiffRun):
        px = plan.config.generators[run.generator].image_px
        seconds = rates.job_s + pictures / rates.reconstruct_images_per_s
    else:
        px, seconds = run.image_px, 0.0
    path = f"{plan.config.results}/reconstructions/{e.reconstruction}"
    yield Piece("reconstructions", path, seconds / 3600, pictures * px**2 * 3)
    values = pictures * len(plan.config.metrics.sets[e.metrics])
    seconds = rates.job_s + values / rates.score_values_per_s
    yield Piece("scores", f"{plan.config.results}/metrics/{e.scores}.parquet", seconds / 3600, 0)


def _raw(plan: Plan, preprocessing: Preprocessing, subject: str) -> tuple[str, float]:
    """What one job downloads, and its bytes."""
    config = plan.config.subjects[subject]
    volume = 2 * prod(config.grid)
    if isinstance(preprocessing, Betas):
        compressed = COMPRESSED["betas"] if preprocessing.file == "nii.gz" else 1
        return "betas of a session", volume * TRIALS_PER_SESSION * compressed
    if isinstance(preprocessing, Fmriprep):
        runs = 0 if preprocessing.derivatives else TASK_RUNS * config.sessions
        return "raw BOLD of a subject", 2 * prod(RAW_VOLUME) * runs * COMPRESSED["raw"]
    series = volume * FILE_VOLUMES * TASK_RUNS * COMPRESSED["time series"]
    return "time series of a session", series


@cache
def _trained_of_unet(generator: Generator, what: Any, lora: Lora) -> int:
    import torch
    from diffusers import UNet2DConditionModel

    from boldvision.config import Training
    from boldvision.decoders.dynadiff.model import finetune
    from boldvision.generators.base import full_size_unet_config

    sizes = (
        UNet2DConditionModel.load_config(
            Path(shipped(generator.folder)) / "image_unet", local_files_only=True
        )
        if generator.kind == "tiny"
        else full_size_unet_config()
    )
    settings = DynadiffRun(
        decoder="dynadiff", split="standard", preprocessing="any", generator="any",
        finetune=what, lora=lora, training=Training(learning_rate=1),
    )  # fmt: skip
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(sizes).requires_grad_(False)
        finetune(unet, settings)
    return sum(p.numel() for p in unet.parameters() if p.requires_grad)


def _cost(item: str, needed: dict[str, Piece], paid: set[str], measured: bool) -> Cost:
    def there(piece: Piece) -> bool:
        return measured and Path(piece.path).exists()

    def hours(*stages: str) -> float:
        return sum(piece.hours for piece in left if piece.stage in stages)

    trained = [piece for piece in needed.values() if piece.stage == "models"]
    left = [p for path, p in needed.items() if path not in paid and not there(p)]
    return Cost(
        item,
        models=len(trained),
        new=sum(piece.path not in paid for piece in trained),
        trained=sum(map(there, trained)),
        mean_images=sum(piece.stage == "mean images" for piece in needed.values()),
        training_hours=hours("models"),
        testing_hours=hours("reconstructions", "scores"),
        bytes=sum(piece.bytes for piece in left),
    )
