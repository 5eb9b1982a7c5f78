"""What a job is told: the files that it reads, its settings and the words of its command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from shlex import join
from typing import Any

from pydantic import BaseModel

from boldvision.config import Config, Fmriprep, Generator
from boldvision.errors import UserError
from boldvision.metrics.measures import MEASURES
from boldvision.shipped import shipped

OPERATIONAL = {"device_batch_size", "checkpoint_every", "log_every"}
"""Settings of training that change its speed and memory, not the model (but for rounding)."""


def as_json(**settings: Any) -> str:
    """Settings of a stage as JSON: the same text for the same values."""
    return json.dumps(settings, default=_plain, sort_keys=True)


def one_of(names: Iterable[str]) -> str:
    """Wildcard constraint: one of `names`, which may be none."""
    return "|".join(map(re.escape, names)) or "(?!)"


class Jobs:
    """The jobs of every stage, from the download to the scores, as the rules see them.

    Methods that take `wildcards` are input or params functions.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config):
        self.config = config
        self.results = config.results
        self.fetched_generators = {
            generator.folder: generator
            for generator in config.generators.values()
            if generator.repository
        }

    # Models and their files

    def runs_of(self, decoder: str | None = None) -> str:
        """Wildcard constraint: the runs of a decoder, or all; of all sessions or of few."""
        names = [n for n in self.config.runs if decoder in (None, self.config.run(n).decoder)]
        return f"({one_of(names)})(-[1-9][0-9]?sessions)?"

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
        preprocessing = self._run(wildcards).preprocessing
        return [
            f"{self.results}/bold/{preprocessing}/{name}"
            for name in ([subject] if subject else self.trained_subjects(wildcards))
        ]

    def series(self, wildcards: Any) -> list[str]:
        """Clean series of every session in the folders of :meth:`bold`."""
        return self._series(wildcards, sessions=None)

    def training_series(self, wildcards: Any) -> list[str]:
        """Clean series of the sessions that a run is trained on.

        Raises
        ------
        UserError
            A subject has fewer.
        """
        wanted = self._run(wildcards).sessions
        for name in self.trained_subjects(wildcards):
            if wanted and wanted > (known := self.config.subjects[name].sessions):
                raise UserError(
                    f"run {wildcards.run!r}: expected at most {known} sessions, all that {name} "
                    f"has, found {wanted}; lower `few_sessions` of the scope, or `sessions` of the "
                    "run"
                )
        return self._series(wildcards, wanted)

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
        start = self._run(wildcards).pretrained
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
        name = name or getattr(self._run(wildcards), "generator", None)
        if not name:
            return None
        settings = self.config.generators[name]
        if settings.repository:
            return settings
        return settings.model_copy(update={"folder": shipped(settings.folder)})

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
        run = self._run(wildcards)
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
        return self._run(wildcards).training.model_dump_json(include=OPERATIONAL)

    def reconstruction_settings(self, wildcards: Any) -> str:
        """A run, its generator, its preprocessing, and the windows and trials of a test set."""
        run, test_set = self._run(wildcards), self.config.test_sets[wildcards.test_set]
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
        training = self._run(wildcards).training
        deepspeed = ["--deepspeed", shipped(training.deepspeed)] if training.deepspeed else []
        return ["--precision", training.precision, *deepspeed]

    def served(self, *prefixes: str) -> str:
        """Beginning of a command that downloads keys with these prefixes.

        The simulated bucket is served on loopback around the command. The rules insert it as it is,
        so every word is quoted here; a prefix may hold wildcards.
        """
        s3 = self.config.s3
        if s3.serve is None:
            return ""
        words = ["serve", s3.serve, "--bucket", s3.bucket, "--prefix", *prefixes, "--"]
        return f"python -m boldvision {join(words)}"

    def endpoint(self, wildcards: Any) -> list[str]:
        """End of that command: where `serve` puts the address of its server."""
        return ["--endpoint", "{endpoint}"] if self.config.s3.serve else []

    def _run(self, wildcards: Any) -> Any:
        return self.config.run(wildcards.run)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value)} is not a setting")
