"""The Natural Scenes Dataset, as `boldvision.datasets.base` asks for it."""

from __future__ import annotations

from math import prod
from typing import Any

from boldvision.config import S3, Betas, Config, Fmriprep, Preprocessing, Subject
from boldvision.datasets.base import Dataset
from boldvision.datasets.nsd.runs import (
    FILE_VOLUMES,
    RUN_S,
    STIMULUS_S,
    TASK_RUNS,
    TRIAL_S,
    TRIALS_PER_SESSION,
    VOLUMES,
)

COMPRESSED = {"time series": 0.33, "betas": 0.45, "raw": 0.5}
"""Size of a gzip file of int16 volumes, as a fraction of the volumes'. Estimates."""

RAW_VOLUME = (120, 120, 84, 188)
"""Grid and volumes of a raw BOLD run."""


class Nsd:
    """NSD: its core sessions, in func1pt8mm, as betas, or as raw data."""

    stimulus_s, trial_s = STIMULUS_S, TRIAL_S
    checked: tuple[str, ...] = ()

    def check(self, config: Config) -> None:
        """Nothing serves the bucket, its subjects have its names, and windows lie within a run."""
        if config.s3.serve is not None:
            raise ValueError(
                f"s3.serve: {config.s3.serve} would be served as a simulated bucket, but "
                "`miniature` is null; set it to null, or name a copy of the bucket as `raw`"
            )
        self.check_design(config)

    def check_design(self, config: Config) -> None:
        """Subjects have the bucket's names, and windows lie within a run."""
        for name, subject in config.subjects.items():
            if name != (expected := f"subj{subject.number:02d}"):
                raise ValueError(
                    f"subjects.{name}: number {subject.number} is {expected} in the bucket; "
                    "correct the name or `number`"
                )
        names = [name for test_set in config.test_sets.values() for name in test_set.windows]
        for name in dict.fromkeys([*config.windows, *names]):
            if name != "own":
                self.check_window(config, name)

    def check_window(self, config: Config, name: str) -> None:
        """It lies within a run, whose onsets are, at the shortest sampling period."""
        periods = [p.tr_s for p in config.preprocessing.values() if not isinstance(p, Betas)]
        window = config.window(name)
        period = min(periods, default=0)
        begin = window.start_s + window.shift * period
        end = begin + window.n_tr * period
        if begin <= -RUN_S or end > RUN_S:
            wrong = f"ends {end:.0f} s after" if end > RUN_S else f"begins {-begin:.0f} s before"
            raise ValueError(
                f"windows.{name}: {wrong} the onset: expected a stretch of a run of {RUN_S:.0f} s; "
                "change `start_s`, `n_tr` or the shift"
            )

    def check_places(self, config: Config) -> None:
        """Nothing is written to `raw`, an existing copy of the bucket."""
        from boldvision.datasets.nsd.raw import check_places  # which downloads

        check_places(config)

    def task_runs(self, subject: Subject) -> int:
        """Twelve in every session."""
        return TASK_RUNS * subject.sessions

    def trials(self, subject: Subject) -> int:
        """750 in every session."""
        return TRIALS_PER_SESSION * subject.sessions

    def samples(self, preprocessing: Preprocessing) -> int:
        """Volumes of twelve runs, or one sample per trial."""
        if isinstance(preprocessing, Betas):
            return TRIALS_PER_SESSION
        own = preprocessing.volumes if isinstance(preprocessing, Fmriprep) else VOLUMES
        return TASK_RUNS * own

    def download(self, preprocessing: Preprocessing, subject: Subject) -> tuple[str, float]:
        """A session's volumes or betas, or all of a subject's raw runs."""
        volume = 2 * prod(subject.grid)
        if isinstance(preprocessing, Betas):
            compressed = COMPRESSED["betas"] if preprocessing.file == "nii.gz" else 1
            return "betas of a session", volume * TRIALS_PER_SESSION * compressed
        if isinstance(preprocessing, Fmriprep):
            runs = 0 if preprocessing.derivatives else self.task_runs(subject)
            return "raw BOLD of a subject", 2 * prod(RAW_VOLUME) * runs * COMPRESSED["raw"]
        series = volume * FILE_VOLUMES * TASK_RUNS * COMPRESSED["time series"]
        return "time series of a session", series

    def source(self, config: Config) -> dict[str, Any]:
        """The bucket or a copy of it, and whether NSD's terms are accepted."""
        return {
            "s3": config.s3,
            "raw": config.raw,
            "nsd_terms_accepted": config.nsd_terms_accepted,
        }

    def served(self, s3: S3, *prefixes: str) -> str:
        """The bucket is on the network: nothing serves it."""
        return ""

    def endpoint(self, s3: S3) -> list[str]:
        """None but the configured one."""
        return []


NSD: Dataset = Nsd()
