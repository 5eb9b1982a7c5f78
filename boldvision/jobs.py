"""What a job is told: the files that it reads, its settings and the words of its command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from boldvision import frozen, plugins
from boldvision.config import BaseRun, Config, Fmriprep, Training
from boldvision.datasets.choose import dataset_of
from boldvision.errors import UserError
from boldvision.metrics.measures import MEASURES
from boldvision.paths import Paths
from boldvision.shipped import ROOT, shipped
from boldvision.trials import splits

OPERATIONAL = {
    "device_batch_size", "activation_checkpointing", "compile", "checkpoint_every_s", "log_every",
}  # fmt: skip
"""Settings of training that change its speed and memory, not the model (but for rounding)."""

DECODED = {"rounding", "blur_faces"}
"""Settings of a reconstruction that say how pictures are made of latents, after these."""


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
        self.dataset = dataset_of(config)
        self.paths = Paths(config.dataset)
        self.fetched_generators = {
            generator.folder: generator
            for generator in config.generators.values()
            if generator.repository
        }
        self.fetched_networks = {
            network.folder: network
            for network in map(config.network, config.network_names)
            if network.files
        }

    # Models and their files

    def runs_of(self, decoder: str | None = None) -> str:
        """Wildcard constraint: the runs of a decoder, or all; of all sessions or of few."""
        names = [n for n in self.config.run_names if decoder in (None, self.config.run(n).decoder)]
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
        own = self.paths.derivatives.format(**dict(wildcards.items()))
        return self.fmriprep(wildcards).derivatives or own

    # What a model is made of

    def trained_subjects(self, wildcards: Any) -> list[str]:
        """Subjects that a model is trained on."""
        return wildcards.subjects.split("+")

    def trials(self, wildcards: Any) -> list[str]:
        """Trial tables, with the split of the run, of the subjects that a model is trained on."""
        return self._trials(wildcards, self.trained_subjects(wildcards))

    def tested_trials(self, wildcards: Any) -> list[str]:
        """Those of the subject that it is tested on."""
        return self._trials(wildcards, [wildcards.subject])

    def images(self, wildcards: Any) -> list[str]:
        """The pictures that they saw."""
        return [self.paths.images.format(subject=s) for s in self.trained_subjects(wildcards)]

    def training_series(self, wildcards: Any) -> list[str]:
        """Clean series of the sessions that a run is trained on.

        Raises
        ------
        UserError
            A subject has fewer.
        """
        subjects, sessions = self.trained_subjects(wildcards), self._run(wildcards).sessions
        try:
            for subject in subjects:
                self.config.require_sessions(sessions or 1, subject, f"run {wildcards.run!r}")
        except ValueError as error:
            raise UserError(str(error)) from None
        return [file for s in subjects for file in self._series(wildcards, s, sessions)]

    def tested_series(self, wildcards: Any) -> list[str]:
        """Clean series of all sessions of the subject that a model is tested on."""
        return self._series(wildcards, wildcards.subject, None)

    def targets(self, wildcards: Any) -> list[str]:
        """What frozen networks make of the images of the subjects that a model is trained on."""
        names = self._run(wildcards).target_names()
        return self._targets(names, self.trained_subjects(wildcards))

    def stage_targets(self, stage: str) -> Callable[[Any], list[str]]:
        """Input function: of these, what a stage of a decoder reads."""

        def targets(wildcards: Any) -> list[str]:
            names = self._run(wildcards).stage_targets(stage)
            return self._targets(names, self.trained_subjects(wildcards))

        return targets

    def also_read(self, wildcards: Any) -> list[str]:
        """What a run's reconstruction reads of the tested subject beside trials and BOLD."""
        run, subject = self._run(wildcards), wildcards.subject
        files = {
            "images": [self.paths.images.format(subject=subject)],
            "targets": self._targets(run.target_names(), [subject]),
        }
        return [file for what in run.reads for file in files[what]]

    def generators(self, wildcards: Any) -> list[str]:
        """Files of the generators that a run uses."""
        names = self._run(wildcards).generator_names()
        return [file for name in names for file in frozen.generator_files(self.config, name)]

    def networks(self, wildcards: Any) -> list[str]:
        """Folders of the networks that a run uses."""
        return [
            frozen.network(self.config, name).folder
            for name in self._run(wildcards).network_names()
        ]

    def stage_networks(self, stage: str) -> Callable[[Any], list[str]]:
        """Input function: of these, what a stage of a decoder uses."""

        def networks(wildcards: Any) -> list[str]:
            names = self._run(wildcards).stage_networks(stage)
            return [frozen.network(self.config, name).folder for name in names]

        return networks

    def start(self, wildcards: Any) -> list[str]:
        """The model that a run starts from, if it does."""
        start = self._run(wildcards).pretrained
        if start is None:
            return []
        if known := {*start.subjects} & {*self.trained_subjects(wildcards)}:
            raise UserError(
                f"runs.{wildcards.run}: pretrained.subjects has {', '.join(sorted(known))}, whom "
                "the run is trained on: expected new subjects; change one of them"
            )
        place = {"subjects": "+".join(start.subjects), "run": start.run}
        where = {"window": wildcards.window, "seed": wildcards.seed}
        return [self.paths.model_json.format(**place, **where)]

    def start_options(self, wildcards: Any) -> list[str]:
        """Options of a stage that name the folder of that model."""
        return [f"--start={file.rpartition('/')[0]}" for file in self.start(wildcards)]

    def data(self, wildcards: Any) -> str:
        """Where the data of the subjects are that a model is trained on, or tested on."""
        run, tested = self._run(wildcards), getattr(wildcards, "subject", None)
        return as_json(
            **{
                subject: {
                    "trials": self.paths.trials.format(subject=subject),
                    "split": self.paths.split.format(split=run.split, subject=subject),
                    "images": self.paths.images.format(subject=subject),
                    "bold": self._bold(wildcards, subject),
                    "targets": {
                        name: self.paths.target.format(target=name, subject=subject)
                        for name in run.target_names()
                    },
                }
                for subject in ([tested] if tested else self.trained_subjects(wildcards))
            }
        )

    def _trials(self, wildcards: Any, subjects: Iterable[str]) -> list[str]:
        split = self._run(wildcards).split
        return [
            file.format(split=split, subject=subject)
            for subject in subjects
            for file in (self.paths.trials, self.paths.split)
        ]

    def _targets(self, names: Iterable[str], subjects: Iterable[str]) -> list[str]:
        target = self.paths.target
        return [target.format(target=name, subject=s) for s in subjects for name in names]

    def _series(self, wildcards: Any, subject: str, sessions: int | None) -> list[str]:
        last = sessions or self.config.subjects[subject].sessions
        where = {"preprocessing": self._run(wildcards).preprocessing, "subject": subject}
        return [
            self.paths.series.format(**where, session=f"{session:02d}")
            for session in range(1, last + 1)
        ]

    def _bold(self, wildcards: Any, subject: str) -> str:
        preprocessing = self._run(wildcards).preprocessing
        return self.paths.bold.format(preprocessing=preprocessing, subject=subject)

    def pretrained_networks(self) -> str:
        """Wildcard constraint: kinds of networks with a small one, which is trained here."""
        kinds = plugins.found("networks").items()
        return one_of(kind for kind, folder in kinds if (folder / "pretrain.py").exists())

    def network_settings(self, wildcards: Any) -> str:
        """Kind and published files of a network that is fetched."""
        network = self.fetched_networks[wildcards.folder]
        return as_json(**network.model_dump(mode="json", include={"kind", "files"}))

    # Targets

    def target_networks(self, wildcards: Any) -> list[str]:
        """Folders of the networks that a target uses."""
        names = self.config.target(wildcards.target).network_names()
        return [frozen.network(self.config, name).folder for name in names]

    def annotations(self, wildcards: Any) -> str:
        """COCO's captions: the folder that has them, or the archive that is fetched."""
        return self.config.coco.folder or self.paths.annotations

    def target_captions(self, wildcards: Any) -> list[str]:
        """Captions of a subject's images, if a target reads them."""
        asked = self.config.target(wildcards.target).captions
        return [self.paths.captions.format(subject=wildcards.subject)] if asked else []

    def target_generators(self, wildcards: Any) -> list[str]:
        """Files of the generators that a target uses."""
        names = self.config.target(wildcards.target).generator_names()
        return [file for name in names for file in frozen.generator_files(self.config, name)]

    def target_settings(self, wildcards: Any) -> str:
        """A target and its generators."""
        target = self.config.target(wildcards.target)
        generators = {
            name: frozen.generator(self.config, name) for name in target.generator_names()
        }
        networks = {name: frozen.network(self.config, name) for name in target.network_names()}
        return as_json(target=target, generators=generators, networks=networks)

    # Settings and commands

    def fetch_settings(self, wildcards: Any) -> str:
        """What says which files a download is of: a change of all else fetches nothing again."""
        name, session = (getattr(wildcards, key, None) for key in ("subject", "session"))
        if name is None:
            return as_json(design=self.config.design)
        subject = self.config.subjects[name]
        if session:
            rest = [s for s in subject.rest_sessions if s == int(session)]
            return as_json(subject={"rest_sessions": rest})
        which = subject.model_dump(include={"number", "sessions", "rest_sessions"})
        return as_json(design=self.config.design, subject=which)

    def split_settings(self, wildcards: Any) -> str:
        """What a split is told of the configuration: what it asks for, so no more makes it anew."""
        config, asked = self.config, splits.keywords(wildcards.split)
        told = {"test_runs": config.time_resolved_test_runs, "seed": config.data_seed}
        return as_json(**{key: value for key, value in told.items() if key in asked})

    def source(self, wildcards: Any) -> str:
        """Where a download comes from, and all that the configuration asserts of it."""
        subject = self.config.subjects.get(getattr(wildcards, "subject", ""))
        told = {"design": self.config.design, "subject": subject}
        return as_json(**self.dataset.source(self.config), **told)

    def stage_settings(self, stage: str) -> Callable[[Any], str]:
        """Params function: what changes what a stage of a decoder makes.

        A run, its generators, its preprocessing and the window that it is trained on, without what
        belongs to other stages or to reconstruction alone.
        """

        def settings(wildcards: Any) -> str:
            run = self._run(wildcards)
            others = {name: whole for name, whole in _parts(run).items() if name != stage}
            return as_json(
                run=run.model_dump(mode="json", exclude=_operational(run) | others),
                preprocessing=self.config.preprocessing[run.preprocessing],
                generators={
                    name: frozen.generator(self.config, name)
                    for name in run.stage_generators(stage)
                },
                networks={
                    name: frozen.network(self.config, name) for name in run.stage_networks(stage)
                },
                window=self.config.window(wildcards.window),
            )

        return settings

    def stage_job(self, wildcards: Any) -> str:
        """What `stage_settings` leaves out, of whichever stage, so that the run is whole again."""
        run = self._run(wildcards)
        return as_json(**run.model_dump(mode="json", include=_operational(run) | _parts(run)))

    def reconstruction_settings(self, wildcards: Any) -> str:
        """A run, its generators, its preprocessing, and the windows and trials of a test set."""
        run, test_set = self._run(wildcards), self.config.test_sets[wildcards.test_set]
        names = [wildcards.window if name == "own" else name for name in test_set.windows]
        later = {"reconstruction": DECODED} if self._latents_of(wildcards) else {}
        return as_json(
            run=run.model_dump(mode="json", exclude=_operational(run) | later),
            preprocessing=self.config.preprocessing[run.preprocessing],
            generators={
                name: frozen.generator(self.config, name) for name in run.generator_names()
            },
            networks={name: frozen.network(self.config, name) for name in run.network_names()},
            windows={name: self.config.window(name) for name in names},
            trials=test_set.trials,
            trials_at_most=test_set.trials_at_most,
            stored="latents" if later else "pictures",
            data_seed=self.config.data_seed if test_set.draws else None,
        )

    def decoding_generator(self, wildcards: Any) -> list[str]:
        """Files of the VAE that decodes a test set's latents, if it keeps these."""
        name = self._latents_of(wildcards)
        return frozen.generator_files(self.config, name, "vae") if name else []

    def decoding_options(self, wildcards: Any) -> list[str]:
        """Options of the stage `evaluate`: how pictures are made of latents that are kept."""
        name = self._latents_of(wildcards)
        if name is None:
            return []
        how = self._run(wildcards).reconstruction
        told = how.model_dump(mode="json", include=DECODED | {"precision"})
        return ["--decode", as_json(generator=frozen.generator(self.config, name), **told)]

    def environment(self, wildcards: Any) -> str:
        """Conda environment that a run's pictures are made in."""
        return str(ROOT / "envs" / f"{self._run(wildcards).environment}.yaml")

    def fetched_metrics(self) -> dict[str, Any]:
        """Settings of the metrics with the networks that some set needs: those are fetched."""
        metrics = self.config.metrics
        needed = self._networks(name for chosen in metrics.sets.values() for name in chosen)
        settings = metrics.model_dump(mode="json", include={"protocol", "weights_folder"})
        return settings | {"networks": needed, "sets": {}}

    def metrics_settings(self, wildcards: Any) -> str:
        """A set of metrics and their settings, with the networks that these need."""
        metrics, chosen = self.config.metrics, self.config.metrics.sets[wildcards.metrics]
        settings = metrics.model_dump(mode="json", exclude={"networks", "sets"})
        return as_json(**settings, networks=self._networks(chosen), sets={}, set=chosen)

    def _networks(self, metrics: Iterable[str]) -> dict[str, Any]:
        roles = {MEASURES[name].role for name in metrics}
        networks = self.config.metrics.networks
        return {role: networks[role] for role in networks if role in roles}

    def deepspeed(self, section: str) -> Callable[[Any], list[str]]:
        """Input function: DeepSpeed's own configuration of a run's `section`, if it has one."""

        def files(wildcards: Any) -> list[str]:
            file = getattr(self._run(wildcards), section).deepspeed
            return [shipped(file)] if file else []

        return files

    def launch_options(self, section: str) -> Callable[[Any], list[str]]:
        """Params function: options of the stage `gpu` for the training in a run's `section`."""

        def options(wildcards: Any) -> list[str]:
            files = self.deepspeed(section)(wildcards)
            precision = getattr(self._run(wildcards), section).precision
            return ["--precision", precision, *(w for f in files for w in ("--deepspeed", f))]

        return options

    def served(self, *prefixes: str) -> str:
        """Beginning of a command that downloads keys with these prefixes, see `Dataset.served`."""
        return self.dataset.served(self.config.s3, *prefixes)

    @property
    def coco_served(self) -> str:
        """The same for COCO's archive, which the simulated bucket holds too."""
        s3 = self.config.s3.model_copy(update={"bucket": self.config.coco.bucket})
        return self.dataset.served(s3, "annotations/")

    def endpoint(self, wildcards: Any) -> list[str]:
        """End of that command."""
        return self.dataset.endpoint(self.config.s3)

    def _latents_of(self, wildcards: Any) -> str | None:
        return self.config.latents_of(wildcards.run, wildcards.test_set)

    def _run(self, wildcards: Any) -> Any:
        return self.config.run(wildcards.run)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value)} is not a setting")


def _parts(run: BaseRun) -> dict[str, Any]:
    """Settings that do not belong to every stage, as pydantic is told of them."""
    return dict.fromkeys(["reconstruction", *plugins.stages(run.decoder)], True)


def _operational(run: BaseRun) -> dict[str, Any]:
    """Settings that change no model, likewise."""
    return {name: OPERATIONAL for name, value in run if isinstance(value, Training)}
