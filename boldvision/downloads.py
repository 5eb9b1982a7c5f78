"""What a scope needs from a network: all of it can be fetched before anything else runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boldvision.config import Betas, Fmriprep
from boldvision.costs import models
from boldvision.datasets.choose import dataset_of
from boldvision.plan import Plan
from boldvision.runs_table import Evaluation


def downloads(plan: Plan, scope: str) -> list[str]:
    """Files that rules fetch for the items of a scope, each once.

    Raw data whose prepared series are there count only where the configuration keeps raw data.
    """
    return list(dict.fromkeys([*_of_subjects(plan, scope), *_of_decoders(plan, scope)]))


def raw_bytes(plan: Plan, scope: str) -> dict[str, float]:
    """Size of all raw data that the items of a scope are made of, by kind; an estimate."""
    config, dataset = plan.config, dataset_of(plan.config)
    found = {
        file: dataset.download(config.preprocessing[preprocessing], config.subjects[subject])
        for (preprocessing, subject), sessions in sessions_used(plan, scope).items()
        for file, _ in _raw(plan, preprocessing, subject, sessions)
    }
    sizes: dict[str, float] = {}
    for what, size in found.values():
        kind = what.partition(" of ")[0]
        sizes[kind] = sizes.get(kind, 0) + size
    return sizes


def sessions_used(plan: Plan, scope: str) -> dict[tuple[str, str], int]:
    """How many sessions the items of a scope use, by preprocessing and subject.

    All of a subject that some model is tested on; else those that models are trained on.
    """
    evaluations = _evaluations(plan, scope)
    used = [(e.run, e.subject, None) for e in evaluations] + [
        (model.run, subject, plan.config.run(model.run).sessions)
        for model in models(plan, evaluations)
        for subject in model.subjects.split("+")
    ]
    found: dict[tuple[str, str], int] = {}
    for run, subject, sessions in used:
        key = plan.config.run(run).preprocessing, subject
        sessions = sessions or plan.config.subjects[subject].sessions
        found[key] = max(found.get(key, 0), sessions)
    return found


def _evaluations(plan: Plan, scope: str) -> list[Evaluation]:
    return [e for item in plan.items_of(scope) for e in plan.items[scope, item]]


def _of_subjects(plan: Plan, scope: str) -> Iterator[str]:
    config, paths = plan.config, plan.paths
    yield paths.expdesign
    for (preprocessing, subject), sessions in sessions_used(plan, scope).items():
        for pattern in (paths.roi, paths.designs, paths.images):
            yield pattern.format(subject=subject)
        for file, prepared in _raw(plan, preprocessing, subject, sessions):
            if config.keep_raw or not Path(prepared).exists():
                yield file


def _raw(plan: Plan, preprocessing: str, subject: str, sessions: int) -> Iterator[tuple[str, str]]:
    """Raw files of a subject, each with what is prepared of it."""
    settings, paths = plan.config.preprocessing[preprocessing], plan.paths
    where = {"preprocessing": preprocessing, "subject": subject}
    if isinstance(settings, Fmriprep):
        if settings.derivatives is None:
            yield paths.rawdata.format(**where), paths.derivatives.format(**where)
        return
    pattern = paths.betas if isinstance(settings, Betas) else paths.timeseries
    for session in range(1, sessions + 1):
        where["session"] = f"{session:02d}"
        yield pattern.format(**where), paths.series.format(**where)


def _of_captions(plan: Plan) -> Iterator[str]:
    """What the captions of all subjects are made of."""
    yield plan.paths.stimulus_table
    if plan.config.coco.folder is None:
        yield plan.paths.annotations


def _of_decoders(plan: Plan, scope: str) -> Iterator[str]:
    """Generators and networks that are fetched, and what runs and targets name themselves."""
    config = plan.config
    for name in dict.fromkeys(model.run for model in models(plan, _evaluations(plan, scope))):
        run = config.run(name)
        targets = [config.target(target) for target in run.target_names()]
        if any(target.captions for target in targets):
            yield from _of_captions(plan)
        yield from (file for settings in (run, *targets) for file in settings.downloads())
        for generator in (g for settings in (run, *targets) for g in settings.generator_names()):
            if config.generators[generator].repository:
                yield config.generators[generator].folder
        for network in (n for settings in (run, *targets) for n in settings.network_names()):
            if (settings := config.network(network)).files:
                yield settings.folder
