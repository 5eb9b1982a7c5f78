"""What the tables and figures cost: models, hours and disk.

Operations and bytes follow from the configuration and the runs table; hours, from how fast a GPU
computes (`boldvision.speeds`). Nothing else is read but, where asked, what is there. An item is a
set of *pieces*, files that a job makes; items share pieces, so an item costs what the items above
it have not paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from boldvision import plugins
from boldvision.config import Config, Fmriprep, Generator, Preprocessing
from boldvision.datasets.choose import dataset_of
from boldvision.networks.settings import BaseNetwork
from boldvision.paths import MODEL
from boldvision.plan import Plan
from boldvision.runs_table import Evaluation
from boldvision.speeds import Hours, Speeds
from boldvision.trials import splits

FSAVERAGE5 = 20_484
"""Vertices, as in :mod:`boldvision.signal.surface`, which needs packages that a plan does not."""


@dataclass(frozen=True)
class Sizes:
    """What the cost of a model depends on, beside the settings of its run.

    Attributes
    ----------
    voxels : dict of str to int
        Of each subject that it is trained on.
    n_tr : int
        Samples of its window.
    generators : dict of str to Generator
        Those that the run names.
    networks : dict of str to BaseNetwork
        Likewise.
    trials : int
        Of all that it is trained on, at most; each image is shown about three times.
    """

    voxels: Mapping[str, int]
    n_tr: int
    generators: Mapping[str, Generator]
    networks: Mapping[str, BaseNetwork]
    trials: int


@dataclass(frozen=True)
class Work:
    """What one stage of a decoder's training costs.

    Attributes
    ----------
    bytes
        Of what it writes.
    samples
        That pass through an optimization.
    teraflop
        Operations that each of them takes, 10^12 (`boldvision.flop`).
    hours
        Of one GPU, or of a core where there is none, for all that is not counted in operations.
    """

    bytes: float
    samples: float = 0.0
    teraflop: float = 0.0
    hours: float = 0.0


@dataclass(frozen=True)
class Picture:
    """What one reconstruction costs.

    Attributes
    ----------
    px
        Its side in pixels.
    teraflop
        Operations, 10^12.
    seconds
        Of one GPU, or of a core where there is none, for all that is not counted in operations.
    """

    px: int
    teraflop: float = 0.0
    seconds: float = 0.0


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
        return MODEL.format(**asdict(self))


@dataclass(frozen=True)
class Piece:
    """What one job makes.

    Attributes
    ----------
    stage
        `images`, `clean series`, `targets`, `models`, `free models`, `reconstructions`, `scores`.
    hours
        Downloads and preprocessing count as none.
    bytes
        On disk.
    """

    stage: str
    path: str
    hours: Hours
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
    free
        Models whose training takes no hours.
    target_hours, training_hours, testing_hours
        For new pieces that are not there: targets; training; reconstruction and scores.
    bytes
        Disk for these pieces.
    """

    item: str
    models: int
    new: int
    trained: int
    free: int
    target_hours: Hours
    training_hours: Hours
    testing_hours: Hours
    bytes: float

    @property
    def hours(self) -> Hours:
        """Targets, training and testing."""
        return self.target_hours + self.training_hours + self.testing_hours


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
        Whether to look at what is there: finished pieces cost nothing more, and what was measured
        says how fast the rest is. Else the result depends on the configuration alone.

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
        start = plan.config.run(e.run).pretrained
        if start:
            found[Model(start.run, "+".join(start.subjects), e.window, e.seed)] = None
        found[Model(e.run, e.subjects, e.window, e.seed)] = None
    return list(found)


def pieces(plan: Plan, evaluations: list[Evaluation], measured: bool = False) -> dict[str, Piece]:
    """All pieces of an item by their path, from the images to the scores."""
    return {piece.path: piece for piece in _pieces(plan, evaluations, Speeds(plan, measured))}


def disk_by_stage(plan: Plan, scope: str) -> dict[str, float]:
    """Bytes that the items of a scope need in all, by stage, in the order of the stages."""
    everything: dict[str, Piece] = {}
    for item in plan.items_of(scope):
        everything |= pieces(plan, plan.items[scope, item])
    total = dict.fromkeys(("images", "clean series", "targets", "models", "reconstructions"), 0.0)
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
        preprocessing = plan.config.preprocessing[name]
        what, size = dataset_of(plan.config).download(preprocessing, plan.config.subjects[subject])
        found[what] = max(size, found.get(what, 0.0))
    return {what: found[what] for what in sorted(found) if found[what]}


@cache
def training(plan: Plan, model: Model) -> dict[str, Work]:
    """What each stage of a model's training costs, as its decoder says."""
    run = plan.config.run(model.run)
    cost = plugins.defined("decoders", run.decoder, "cost", "training")
    return cost(run, sizes_of(plan, model))


def sizes_of(plan: Plan, model: Model) -> Sizes:
    """What a model's costs depend on, beside the settings of its run."""
    n_tr = plan.config.window(model.window).n_tr
    return _sizes(plan.config, plan.config.run(model.run), tuple(model.subjects.split("+")), n_tr)


@cache
def picture(plan: Plan, name: str) -> Picture:
    """What one reconstruction of a run costs, as its decoder says."""
    run = plan.config.run(name)
    cost = plugins.defined("decoders", run.decoder, "cost", "picture")
    return cost(run, _sizes(plan.config, run))


def pictures_per_window(plan: Plan, evaluation: Evaluation) -> int:
    """Pictures of one test window at most: none leaves its run, no image of a test run repeats."""
    config, subject = plan.config, plan.config.subjects[evaluation.subject]
    test_set, dataset = config.test_sets[evaluation.test_set], dataset_of(config)
    trials, design = dataset.trials(subject), config.design
    if "test_runs" in splits.keywords(config.run(evaluation.run).split):
        there = config.time_resolved_test_runs * trials / dataset.task_runs(subject)
    elif test_set.trials != "all":
        there = design.shared_images
    else:
        there = trials * design.shared_images / design.images_per_subject
    return min(round(there), test_set.trials_at_most or round(there))


def _sizes(config: Config, run: Any, subjects: tuple[str, ...] = (), n_tr: int = 0) -> Sizes:
    preprocessing = config.preprocessing[run.preprocessing]
    return Sizes(
        voxels={name: _voxels(config, preprocessing, name) for name in subjects},
        n_tr=n_tr,
        generators={name: config.generators[name] for name in run.generator_names()},
        networks={name: config.network(name) for name in run.network_names()},
        trials=sum(_training_trials(config, run, name) for name in subjects),
    )


def _training_trials(config: Config, run: Any, subject: str) -> int:
    """Trials of a subject's sessions that are not of shared images, or not of test runs."""
    settings, dataset, design = config.subjects[subject], dataset_of(config), config.design
    per_session = dataset.trials(settings) / settings.sessions
    trials = per_session * (run.sessions or settings.sessions)
    test = design.shared_images / design.images_per_subject
    if "test_runs" in splits.keywords(run.split):
        test = config.time_resolved_test_runs / dataset.task_runs(settings)
    return round(trials * (1 - test))


def _pieces(plan: Plan, evaluations: list[Evaluation], speeds: Speeds) -> Iterator[Piece]:
    trained = models(plan, evaluations)
    subjects = {(m.run, name) for m in trained for name in m.subjects.split("+")}
    tested = {(e.run, e.subject) for e in evaluations}
    for run, subject in sorted(subjects | tested):
        yield _images(plan, subject)
        settings = plan.config.run(run)
        yield from _series(plan, settings.preprocessing, subject)
        for target in settings.target_names():
            yield _target(plan, target, subject, speeds)
    yield from (_model(plan, model, speeds) for model in trained)
    for e in evaluations:
        yield from _test(plan, e, speeds)


def _images(plan: Plan, subject: str) -> Piece:
    design = plan.config.design
    size = design.images_per_subject * design.image_px**2 * 3
    return Piece("images", plan.paths.images.format(subject=subject), Hours(), size)


def _series(plan: Plan, name: str, subject: str) -> Iterator[Piece]:
    preprocessing = plan.config.preprocessing[name]
    samples = dataset_of(plan.config).samples(preprocessing)
    itemsize = {"float16": 2, "float32": 4}[preprocessing.dtype]
    size = samples * _voxels(plan.config, preprocessing, subject) * itemsize
    for session in range(1, plan.config.subjects[subject].sessions + 1):
        path = plan.paths.series.format(
            preprocessing=name, subject=subject, session=f"{session:02d}"
        )
        yield Piece("clean series", path, Hours(), size)


def _voxels(config: Config, preprocessing: Preprocessing, subject: str) -> int:
    on_surface = isinstance(preprocessing, Fmriprep)
    return FSAVERAGE5 if on_surface else config.subjects[subject].voxels


def _target(plan: Plan, name: str, subject: str, speeds: Speeds) -> Piece:
    target = plan.config.target(name)
    generators = {name: plan.config.generators[name] for name in target.generator_names()}
    networks = {name: plan.config.network(name) for name in target.network_names()}
    images = plan.config.design.images_per_subject
    work = target.teraflop_per_image(generators, networks)
    size = images * target.bytes_per_image(generators, networks)
    path = plan.paths.target.format(target=name, subject=subject)
    return Piece("targets", path, speeds.job(speeds.target(images, work)), size)


def _model(plan: Plan, model: Model, speeds: Speeds) -> Piece:
    hours, size = Hours(), 0.0
    for stage, work in training(plan, model).items():
        hours += speeds.job(speeds.training(model.run, stage, work))
        size += work.bytes
    path = f"{plan.paths.models}/{model.path}/model.json"
    return Piece("models" if hours else "free models", path, hours, size)


def _test(plan: Plan, e: Evaluation, speeds: Speeds) -> Iterator[Piece]:
    one, test_set = picture(plan, e.run), plan.config.test_sets[e.test_set]
    pictures = pictures_per_window(plan, e) * len(test_set.windows)
    hours = speeds.job(speeds.pictures(e.run, pictures, one))
    size = pictures * _bytes_per_picture(plan.config, e, one)
    yield Piece("reconstructions", plan.paths.of(plan.paths.pictures, e), hours, size)
    values = pictures * len(plan.config.metrics.sets[e.metrics])
    hours = speeds.job(speeds.scores(values))
    yield Piece("scores", plan.paths.of(plan.paths.scores, e), hours, 0)


def _bytes_per_picture(config: Config, e: Evaluation, one: Picture) -> int:
    """Three bytes a pixel, or latents in half precision, of which there are 4 / 64 as many."""
    return one.px**2 * 3 if config.latents_of(e.run, e.test_set) is None else one.px**2 // 64 * 8


def _cost(item: str, needed: dict[str, Piece], paid: set[str], measured: bool) -> Cost:
    def there(piece: Piece) -> bool:
        return measured and Path(piece.path).exists()

    def hours(*stages: str) -> Hours:
        return sum((piece.hours for piece in left if piece.stage in stages), Hours())

    trained = [piece for piece in needed.values() if piece.stage == "models"]
    left = [p for path, p in needed.items() if path not in paid and not there(p)]
    return Cost(
        item,
        models=len(trained),
        new=sum(piece.path not in paid for piece in trained),
        trained=sum(map(there, trained)),
        free=sum(piece.stage == "free models" for piece in needed.values()),
        target_hours=hours("targets"),
        training_hours=hours("models"),
        testing_hours=hours("reconstructions", "scores"),
        bytes=sum(piece.bytes for piece in left),
    )
