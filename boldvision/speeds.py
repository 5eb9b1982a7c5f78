"""How fast work is done: as trained models were, as `benchmark_gpu` measured, or as is assumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boldvision.config import Config
from boldvision.decoders.record import stage_records
from boldvision.files import reading
from boldvision.plan import Plan

if TYPE_CHECKING:
    from boldvision.costs import Picture, Work

ASSUMED, BENCHMARK, OWN_MODELS = "assumed", "benchmark", "own models"


@dataclass(frozen=True)
class Hours:
    """Of one GPU, or of one core where there is none: from, to, and what both rest on.

    Attributes
    ----------
    least, most
        Equal where the speed was measured.
    bases : frozenset of str
        `ASSUMED`, `BENCHMARK`, `OWN_MODELS`.
    """

    least: float = 0.0
    most: float = 0.0
    bases: frozenset[str] = frozenset()

    def __add__(self, other: Hours) -> Hours:
        bases = self.bases | other.bases
        return Hours(self.least + other.least, self.most + other.most, bases)

    def __bool__(self) -> bool:
        return self.most > 0


class Speeds:
    """Hours of what the plan's runs compute.

    A run goes on at the speed of its own models. Else its decoder computes as fast as
    `benchmark_gpu` measured, if with the present settings; else at a share of the GPU's peak that
    the configuration assumes, from one bound to the other.

    Parameters
    ----------
    plan : Plan
    measured : bool
        Whether to look at what was measured.

    Raises
    ------
    UserError
        A record or the file of the benchmark is damaged.
    """

    def __init__(self, plan: Plan, measured: bool):
        self.plan, self.measured, self.costs = plan, measured, plan.config.costs

    def target(self, images: float, teraflop: float) -> Hours:
        """Of so many images, each of which takes so many operations, 10^12."""
        slow, fast = (share * self.costs.peak_teraflop_per_s for share in self.costs.share)
        return _hours(ASSUMED, images * teraflop / fast / 3600, images * teraflop / slow / 3600)

    def training(self, run: str, stage: str, work: Work) -> Hours:
        """Of one model's stage."""
        other = _hours(ASSUMED, work.hours)
        if self.measured and (rate := samples_per_s(self.plan, run, stage)):
            return other + _hours(OWN_MODELS, work.samples / rate / 3600)
        return other + self._computing(run, stage, work.samples * work.teraflop)

    def pictures(self, run: str, count: float, one: Picture) -> Hours:
        """Of so many reconstructions."""
        other = _hours(ASSUMED, count * one.seconds / 3600)
        return other + self._computing(run, "pictures", count * one.teraflop)

    def scores(self, values: float) -> Hours:
        """Of so many values, one per picture and metric."""
        scoring = self._benchmark.get("scores", {})
        if scoring.get("settings") == metrics_told(self.plan.config):
            return _hours(BENCHMARK, values / scoring["values_per_s"] / 3600)
        return _hours(ASSUMED, values / self.costs.score_values_per_s / 3600)

    def job(self, hours: Hours) -> Hours:
        """With what a job takes to begin, if it does anything."""
        start = self.costs.job_s / 3600
        return hours + Hours(start, start) if hours else hours

    def _computing(self, run: str, what: str, teraflop: float) -> Hours:
        """Of a stage of training, or of `pictures`."""
        decoder = self.plan.config.run(run).decoder
        known = self._benchmark.get("decoders", {}).get(decoder, {})
        if what in known and known["settings"] == told(self.plan.config, known["run"]):
            return _hours(BENCHMARK, teraflop / known[what]["teraflop_per_s"] / 3600)
        slow, fast = (share * self.costs.peak_teraflop_per_s for share in self.costs.share)
        return _hours(ASSUMED, teraflop / fast / 3600, teraflop / slow / 3600)

    @cached_property
    def _benchmark(self) -> dict[str, Any]:
        path = Path(self.plan.paths.benchmark_gpu)
        if not self.measured or not path.exists():
            return {}
        with reading(path, "the JSON that `benchmark_gpu` writes", "remove it, or run that again"):
            return dict(json.loads(path.read_text()))


def samples_per_s(plan: Plan, run: str, stage: str) -> float | None:
    """Training samples per GPU and second of the run's own models, if there are any."""
    rates = []
    for file in Path(plan.paths.models, run).glob("*/*/seed-*/model.json"):
        record = stage_records(file.parent).get(stage, {})
        rates.append(record.get("samples_per_second", 0) / record.get("processes", 1))
    rates = [rate for rate in rates if rate]
    return sum(rates) / len(rates) if rates else None


def told(config: Config, name: str) -> dict[str, Any]:
    """What a run's speed depends on, JSON values: the run, its generators and networks."""
    run = config.run(name)
    generators = {n: config.generators[n].model_dump(mode="json") for n in run.generator_names()}
    networks = {n: config.network(n).model_dump(mode="json") for n in run.network_names()}
    whole = run.model_dump(mode="json")
    return {"run": whole, "generators": generators, "networks": networks}


def metrics_told(config: Config) -> dict[str, Any]:
    """What the speed of scoring depends on, JSON values."""
    return config.metrics.model_dump(mode="json", include={"protocol", "batch_size", "networks"})


def _hours(basis: str, least: float, most: float | None = None) -> Hours:
    most = least if most is None else most
    return Hours(least, most, frozenset({basis}) if most else frozenset())
