"""What the rules ask of the configuration and the runs table: files, settings, commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ValidationError

from boldvision.config import Config, Fmriprep, Generator
from boldvision.errors import UserError
from boldvision.metrics.measures import MEASURES
from boldvision.report.known_answer import CHECKED
from boldvision.report.tables import TABLES as PAPER_TABLES
from boldvision.runs_table import Evaluation, evaluations, read_runs

TABLES = tuple(f"table_{number}" for number in range(1, 9))
FIGURES = (
    *(f"figure_{number}" for number in range(3, 10)),
    "figure_4_leakage_free",
    "figure_5_leakage_free",
    "temporal_generalization",
    "temporal_generalization_leakage_free",
    "leakage",
)


OPERATIONAL = {"device_batch_size", "checkpoint_every", "log_every"}
"""Settings of training that change its speed and memory, not the model (but for rounding)."""


def load_config(values: Mapping[str, Any]) -> Config:
    """Validate Snakemake's `config`.

    Raises
    ------
    UserError
        A key is unknown, missing or wrong; every one is named.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        lines = "".join(f"\n  {_located(e['loc'], e['msg'])}" for e in error.errors())
        raise UserError(f"the configuration is wrong:{lines}") from None


def as_json(**settings: Any) -> str:
    """Settings of a stage as JSON: the same text for the same values."""
    return json.dumps(settings, default=_plain, sort_keys=True)


def one_of(names: Iterable[str]) -> str:
    """Wildcard constraint: one of `names`, which may be none."""
    return "|".join(map(re.escape, names)) or "(?!)"


class Plan:
    """The configuration and the runs table, as the rules see them.

    Methods that take `wildcards` are input or params functions; :meth:`rows`, :meth:`scores` and
    :meth:`pictures` return one, for an item in the scope that is asked for. The item's name may
    hold wildcards, as in ``table_{number}``.

    Parameters
    ----------
    values : mapping
        Snakemake's `config`.

    Raises
    ------
    UserError
        The configuration or the runs table is wrong.
    """

    def __init__(self, values: Mapping[str, Any]):
        self.config = load_config(values)
        self.resources = f"resources/{self.config.dataset}"
        self.results = f"results/{self.config.dataset}"
        runs = read_runs(self.config.runs_table)
        self.item_names = list(runs["item"].unique())
        self.items = {
            (scope, item): evaluations(self.config, runs, scope, item)
            for scope in self.config.scopes
            for item in self.item_names
        }
        self.fetched_generators = {
            generator.folder: generator
            for generator in self.config.generators.values()
            if generator.repository
        }
        self._runs: dict[str, Any] = {}

    # Targets

    def table(self, name: str, scope: str) -> list[str]:
        """Files of a table."""
        return [f"{self.results}/{scope}/tables/{name}.{kind}" for kind in ("csv", "md", "tex")]

    def figure(self, name: str, scope: str) -> list[str]:
        """Files of a figure."""
        return [f"{self.results}/{scope}/figures/{name}.{kind}" for kind in ("pdf", "png")]

    def scorecard(self, scope: str) -> list[str]:
        """Files of the scorecard."""
        return [f"{self.results}/{scope}/scorecard.{kind}" for kind in ("csv", "html")]

    def known_answer(self, scope: str) -> list[str]:
        """The check of the known answer; real data have none."""
        checked = self.config.miniature and self.config.scopes[scope].known_answer
        return [f"{self.results}/{scope}/known_answer.json"] if checked else []

    def gallery(self, scope: str) -> list[str]:
        """The page on which reconstructions are looked at, a folder."""
        return [f"{self.results}/{scope}/gallery"]

    def item(self, name: str, scope: str) -> list[str]:
        """Files of a table, a figure or the gallery."""
        if name in TABLES:
            return self.table(name, scope)
        return self.gallery(scope) if name == "gallery" else self.figure(name, scope)

    def items_of(self, scope: str) -> list[str]:
        """Names of the items of a scope, in the order of the runs table."""
        chosen = self.config.scopes[scope].items
        return [name for of, name in self.items if of == scope and name in (chosen or [name])]

    def everything(self, scope: str) -> list[str]:
        """All items of a scope, and what sums them up."""
        return [
            *(file for name in self.items_of(scope) for file in self.item(name, scope)),
            *self.table("differences", scope),
            *self.scorecard(scope),
            *self.known_answer(scope),
        ]

    # Tables and figures

    def rows(self, item: str) -> Callable[[Any], list[dict[str, Any]]]:
        """Params function: the evaluations of an item, for its script."""
        return lambda wildcards: [self._row(e) for e in self._item(wildcards, item)]

    def scores(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the scores of an item, and their summaries."""
        return lambda wildcards: [
            self._row(e)[file]
            for e in self._item(wildcards, item)
            for file in ("parquet", "summary")
        ]

    def pictures(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the folders of reconstructions that an item shows."""
        return lambda wildcards: [
            self._row(e)["reconstructions"] for e in self._item(wildcards, item)
        ]

    def stimuli(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the images that the subjects of an item saw."""
        return lambda wildcards: sorted(
            {self._row(e)["stimuli"] for e in self._item(wildcards, item)}
        )

    def trials(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the trial tables of the subjects of an item."""
        return lambda wildcards: sorted(
            {self._row(e)["trials"] for e in self._item(wildcards, item)}
        )

    def records(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: what was recorded when the models of an item were trained."""
        return lambda wildcards: [self._row(e)["training"] for e in self._item(wildcards, item)]

    def table_rows(self, wildcards: Any) -> dict[str, list[dict[str, Any]]]:
        """Params function: the evaluations of every table of a scope."""
        return self._rows_of(wildcards.scope, TABLES)

    def table_scores(self, wildcards: Any) -> list[str]:
        """Input function: the scores of every table of a scope, and their summaries."""
        return _files(self.table_rows(wildcards), "parquet", "summary")

    def checked_rows(self, wildcards: Any) -> dict[str, list[dict[str, Any]]]:
        """Params function: the evaluations that the known answer is checked on."""
        return self._rows_of(wildcards.scope, CHECKED)

    def checked_files(self, wildcards: Any) -> list[str]:
        """Input function: their scores, and the pictures and stimuli of table 1."""
        items = self.checked_rows(wildcards)
        looked_at = {name: rows for name, rows in items.items() if name == "table_1"}
        return [
            *_files(items, "parquet", "summary"),
            *_files(looked_at, "reconstructions", "stimuli"),
        ]

    def caption(self, wildcards: Any) -> dict[str, str]:
        """Params function: what the report says of a table."""
        table = PAPER_TABLES[int(wildcards.number)]
        return {"title": table.title, "shows": table.shows, "ours": table.ours}

    def split(self, item: str) -> Callable[[Any], str]:
        """Params function: the split of an item's first run, which a figure states."""
        return lambda wildcards: self.run(self._item(wildcards, item)[0].run).split

    def subjects(self, wildcards: Any) -> list[str]:
        """Subjects of a scope."""
        return self.config.scopes[wildcards.scope].subjects

    def first_subject(self, wildcards: Any) -> str:
        """First subject of a scope, the one that figures show."""
        return self.subjects(wildcards)[0]

    # Models

    def run(self, name: str) -> Any:
        """Settings of a run."""
        if name not in self._runs:
            self._runs[name] = self.config.run(name)
        return self._runs[name]

    def runs_of(self, decoder: str | None = None) -> str:
        """Wildcard constraint: the runs of a decoder, or all; of all sessions or of few."""
        names = [n for n in self.config.runs if decoder in (None, self.run(n).decoder)]
        return rf"({one_of(names)})(-\d+sessions)?"

    def preprocessings_of(self, kind: str) -> str:
        """Wildcard constraint: the entries of `preprocessing` of a kind."""
        entries = self.config.preprocessing.items()
        return one_of(name for name, settings in entries if settings.kind == kind)

    def fmriprep(self, wildcards: Any) -> Fmriprep:
        """Settings of a preprocessing with fMRIPrep."""
        settings = self.config.preprocessing[wildcards.preprocessing]
        assert isinstance(settings, Fmriprep), wildcards.preprocessing
        return settings

    def fmriprep_job(self, wildcards: Any) -> str:
        """How fMRIPrep runs, with a working folder of the subject's own."""
        job = self.fmriprep(wildcards).job
        work = f"{job.work}/{self.config.dataset}/{wildcards.preprocessing}/{wildcards.subject}"
        return as_json(**job.model_dump() | {"work": work})

    def derivatives(self, wildcards: Any) -> str:
        """fMRIPrep's output of a subject: existing derivatives, or those of its own job."""
        own = f"{self.results}/fmriprep/{wildcards.preprocessing}/{wildcards.subject}"
        return self.fmriprep(wildcards).derivatives or own

    def trained_subjects(self, wildcards: Any) -> list[str]:
        """Subjects that a model is trained on."""
        return wildcards.subjects.split("+")

    def bold(self, wildcards: Any) -> list[str]:
        """Folders of clean series: of one subject, or of all that a model is trained on."""
        subject = getattr(wildcards, "subject", None)
        preprocessing = self.run(wildcards.run).preprocessing
        return [
            f"{self.results}/bold/{preprocessing}/{name}"
            for name in ([subject] if subject else self.trained_subjects(wildcards))
        ]

    def series(self, wildcards: Any) -> list[str]:
        """Clean series of every session in the folders of :meth:`bold`."""
        return self._series(wildcards, sessions=None)

    def training_series(self, wildcards: Any) -> list[str]:
        """Clean series of the sessions that a run is trained on."""
        return self._series(wildcards, self.run(wildcards.run).sessions)

    def _series(self, wildcards: Any, sessions: int | None) -> list[str]:
        return [
            f"{folder}/session{session:02d}.npy"
            for folder in self.bold(wildcards)
            for session in range(1, (sessions or self._sessions(folder)) + 1)
        ]

    def _sessions(self, bold_folder: str) -> int:
        return self.config.subjects[bold_folder.rsplit("/", 1)[1]].sessions

    def pretrained(self, wildcards: Any) -> list[str]:
        """The model that a run starts from, if it does."""
        start = self.run(wildcards.run).pretrained
        if start is None:
            return []
        if known := {*start.subjects} & {*self.trained_subjects(wildcards)}:
            raise UserError(
                f"runs.{wildcards.run}: pretrained.subjects has {', '.join(sorted(known))}, whom "
                "the run is trained on: expected new subjects; change one of them"
            )
        place = f"{start.run}/{'+'.join(start.subjects)}/{wildcards.window}/seed-{wildcards.seed}"
        return [f"{self.results}/models/{place}/model.safetensors"]

    def start_options(self, wildcards: Any) -> list[str]:
        """Options of the stage `train` that name that model."""
        return [f"--pretrained={model}" for model in self.pretrained(wildcards)]

    def generator(self, wildcards: Any) -> Generator | None:
        """The generator that is named, or that a run uses."""
        name = getattr(wildcards, "generator", None)
        name = name or getattr(self.run(wildcards.run), "generator", None)
        return self.config.generators[name] if name else None

    def generator_files(self, wildcards: Any) -> list[str]:
        """The generator's folder where it is fetched, its weights where it ships."""
        generator = self.generator(wildcards)
        if generator is None:
            return []
        if generator.repository:
            return [generator.folder]
        weights = "diffusion_pytorch_model.safetensors"
        return [f"{generator.folder}/{part}/{weights}" for part in ("image_unet", "vae")]

    # Settings and commands

    def fetch_settings(self, wildcards: Any) -> str:
        """What a download must be."""
        subject = getattr(wildcards, "subject", None)
        return as_json(
            design=self.config.design,
            subject=self.config.subjects[subject] if subject else None,
        )

    def source(self, wildcards: Any) -> str:
        """Where a download comes from."""
        return as_json(
            s3=self.config.s3,
            nsd_terms_accepted=self.config.nsd_terms_accepted,
            raw=self.config.raw,
        )

    def run_settings(self, wildcards: Any) -> str:
        """A run, its generator, its preprocessing and the window that it is trained on."""
        run = self.run(wildcards.run)
        return as_json(
            run=run.model_dump(
                mode="json", exclude={"reconstruction": True, "training": OPERATIONAL}
            ),
            preprocessing=self.config.preprocessing[run.preprocessing],
            generator=self.generator(wildcards),
            window=self.config.window(wildcards.window),
        )

    def training_job(self, wildcards: Any) -> str:
        """Settings of a training job that do not change its model."""
        return self.run(wildcards.run).training.model_dump_json(include=OPERATIONAL)

    def reconstruction_settings(self, wildcards: Any) -> str:
        """A run, its generator, its preprocessing, and the windows and trials of a test set."""
        run, test_set = self.run(wildcards.run), self.config.test_sets[wildcards.test_set]
        names = [wildcards.window if name == "own" else name for name in test_set.windows]
        return as_json(
            run=run.model_dump(mode="json", exclude={"training": OPERATIONAL}),
            preprocessing=self.config.preprocessing[run.preprocessing],
            generator=self.generator(wildcards),
            windows={name: self.config.window(name) for name in names},
            trials=test_set.trials,
            batch_size=run.reconstruction.batch_size if hasattr(run, "reconstruction") else 64,
        )

    def fetched_metrics(self) -> dict[str, Any]:
        """Settings of the metrics with the networks that some set needs: those are fetched."""
        metrics = self.config.metrics
        roles = {MEASURES[name].role for chosen in metrics.sets.values() for name in chosen}
        return metrics.model_dump(mode="json", include={"protocol", "weights_folder"}) | {
            "networks": {
                role: metrics.networks[role] for role in metrics.networks if role in roles
            },
            "sets": {},
        }

    def launch_options(self, wildcards: Any) -> list[str]:
        """Options of the stage `gpu` that a run's training needs."""
        training = self.run(wildcards.run).training
        deepspeed = ["--deepspeed", training.deepspeed] if training.deepspeed else []
        return ["--precision", training.precision, *deepspeed]

    def served(self, *prefixes: str) -> str:
        """Beginning of a command that downloads keys with these prefixes.

        The simulated bucket is served on loopback around the command.
        """
        if self.config.s3.serve is None:
            return ""
        s3 = self.config.s3
        return (
            f"python -m boldvision serve {s3.serve} --bucket {s3.bucket}"
            f" --prefix {' '.join(prefixes)} --"
        )

    def endpoint(self, wildcards: Any) -> str:
        """End of that command: where `serve` puts the address of its server."""
        return "--endpoint {endpoint}" if self.config.s3.serve else ""

    def _item(self, wildcards: Any, item: str) -> list[Evaluation]:
        scope, item = wildcards.scope, item.format(**dict(wildcards.items()))
        if (scope, item) not in self.items:
            raise UserError(f"{self.config.runs_table}: no line for {item!r}")
        return self.items[scope, item]

    def _rows_of(self, scope: str, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        chosen = [name for name in self.items_of(scope) if name in names]
        return {name: [self._row(e) for e in self.items[scope, name]] for name in chosen}

    def _row(self, evaluation: Evaluation) -> dict[str, Any]:
        return {
            **asdict(evaluation),
            "parquet": f"{self.results}/metrics/{evaluation.scores}.parquet",
            "summary": f"{self.results}/metrics/{evaluation.scores}.json",
            "training": f"{self.results}/models/{evaluation.model}/training.json",
            "reconstructions": f"{self.results}/reconstructions/{evaluation.reconstruction}",
            "stimuli": f"{self.resources}/images/{evaluation.subject}.h5",
            "trials": f"{self.results}/trials/{evaluation.subject}.parquet",
        }


def _located(place: tuple[Any, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")  # pydantic's, of errors raised in config.py
    return f"{'.'.join(map(str, place))}: {message}" if place else message


def _files(items: Mapping[str, list[dict[str, Any]]], *kinds: str) -> list[str]:
    """Files of some kinds of every evaluation, each once."""
    return list(
        dict.fromkeys(row[kind] for rows in items.values() for row in rows for kind in kinds)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value)} is not a setting")
