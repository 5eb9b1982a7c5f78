"""The configuration: every key, its type, its meaning.

``Config`` validates the mapping that Snakemake reads from ``--configfile``. A misspelt key is an
error. ``python -m boldvision config --markdown`` prints the table of keys in ``config/README.md``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, TypeAdapter, ValidationError, model_validator

from boldvision.config.dataset import S3, Design, Miniature, Subject
from boldvision.config.figures import Figures
from boldvision.config.messages import messages
from boldvision.config.runs import (
    BrainModule,
    DynadiffRun,
    Generator,
    Lora,
    MeanImageRun,
    Pretrained,
    Reconstruction,
    Run,
    Split,
    Training,
)
from boldvision.config.scoring import Metrics, Network
from boldvision.config.section import (
    Distinct,
    Metric,
    Name,
    Place,
    Section,
    Seed,
    Shift,
    Text,
    WindowName,
    require,
)
from boldvision.config.signal import (
    TR_S,
    Betas,
    Fmriprep,
    FmriprepJob,
    NsdPrep,
    Preprocessing,
    Window,
    split_window_name,
)

__all__ = [
    "S3",
    "TR_S",
    "Betas",
    "BrainModule",
    "Config",
    "Costs",
    "Design",
    "DynadiffRun",
    "Figures",
    "Fmriprep",
    "FmriprepJob",
    "Gallery",
    "Generator",
    "Lora",
    "MeanImageRun",
    "Metrics",
    "Miniature",
    "Network",
    "NsdPrep",
    "Preprocessing",
    "Pretrained",
    "Reconstruction",
    "Run",
    "Scope",
    "Section",
    "Split",
    "Subject",
    "TestSet",
    "Training",
    "Window",
    "split_window_name",
]

RESERVED = ("own", "specialized")
"""In test sets and in the runs table, these are no names of windows."""

Rate = Annotated[float, Field(gt=0, le=1e9)]


class TestSet(Section):
    """Which windows and which trials of a split's test part are reconstructed."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    windows: Distinct[WindowName] = Field(
        min_length=1, description="window names; `own` is the model's training window"
    )
    trials: Literal["one_repetition", "all", "averaged"] = Field(
        description="one drawn repetition per image, every trial, or the mean of the repetitions"
    )


class Scope(Section):
    """How much of the experiment matrix is run."""

    items: Distinct[Name] | None = Field(
        None, description="items of the runs table that the scope's target makes; null: all"
    )
    subjects: Distinct[Name] = Field(min_length=1, description="names of `subjects`")
    specialized_shifts: Distinct[Shift] = Field(
        description="shifts, in TRs, with a model of their own"
    )
    few_sessions: Distinct[Annotated[int, Field(ge=1, le=40)]] = Field(
        default_factory=list, description="numbers of training sessions (paper, Figure 9)"
    )
    known_answer: bool = Field(
        True, description="check the answer of a simulated dataset; real data have none"
    )


class Gallery(Section):
    """The page on which reconstructions are looked at."""

    image_px: int = Field(128, ge=16, le=4096, description="side of a picture on the page")
    images: int | None = Field(
        None, ge=1, le=1_000_000, description="images per subject; null: all"
    )
    metrics: Distinct[Metric] = Field(description="curves to choose from")


class Costs(Section):
    """Rates that `plan_paper` multiplies; where a run has a trained model, its own rate is used."""

    gpu: Text = Field(description="the GPU that the rates are for, or a CPU core")
    train_samples_per_s: Rate = Field(description="training samples per GPU and second")
    reconstruct_images_per_s: Rate = Field(description="reconstructions per GPU and second")
    score_values_per_s: Rate = Field(description="values (images x metrics) per GPU and second")
    job_s: float = Field(0.0, ge=0, le=1e6, description="what every job takes to begin, s")
    source: Text = Field(description="where the numbers are from")


class Config(Section):
    """The whole configuration."""

    dataset: Name = Field(description="names the folders of this dataset")
    nsd_terms_accepted: bool = Field(
        False,
        description="true: you signed the NSD Data Access Agreement (naturalscenesdataset.org)",
    )
    s3: S3 = S3()
    raw: Place | None = Field(None, description="an existing copy of the bucket, used in place")
    seed: Seed = Field(0, description="seed of every run, split and drawn repetition")
    gpus_per_job: int = Field(
        1, ge=0, le=1024, description="GPUs of a training or sampling job; 0: CPU"
    )
    subjects: dict[Name, Subject]
    design: Design = Design()
    miniature: Miniature | None = Field(None, description="null: the dataset is real")
    preprocessing: dict[Name, Preprocessing]
    time_resolved_test_runs: int = Field(
        45, ge=1, le=480, description="task runs per subject held out"
    )
    windows: dict[Name, Window]
    test_sets: dict[Name, TestSet]
    generators: dict[Name, Generator]
    runs: dict[Name, dict[str, Any]] = Field(
        description="named models: a decoder's settings, or `base:` and what differs from it"
    )
    metrics: Metrics
    runs_table: Place = Field("config/runs.tsv", description="what each table and figure needs")
    scope: Name = Field(description="scope of `all` and of single tables and figures")
    scopes: dict[Name, Scope]
    figures: Figures
    gallery: Gallery
    blur_faces: bool = Field(
        True, description="blur faces in every reconstruction that a figure or the gallery shows"
    )
    costs: Costs
    _runs: dict[str, DynadiffRun | MeanImageRun] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _subjects_are_the_bucket_s(self) -> Config:
        for name, subject in self.subjects.items():
            if name != (expected := f"subj{subject.number:02d}"):
                raise ValueError(
                    f"subjects.{name}: number {subject.number} is {expected} in the bucket; "
                    "correct the name or `number`"
                )
            if self.time_resolved_test_runs >= (runs := 12 * subject.sessions):
                raise ValueError(
                    f"time_resolved_test_runs: {self.time_resolved_test_runs} of the {runs} task "
                    f"runs of {name} leave none to train on; hold out fewer"
                )
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for name in RESERVED:
            if name in self.windows:
                raise ValueError(
                    f"windows.{name}: the name has a meaning of its own; choose another"
                )
        for scope in self.scopes.values():
            require(scope.subjects, self.subjects, "scopes: subject", "subjects")
        require([self.scope], self.scopes, "scope", "scopes")
        for name in self.runs:
            run = self.run(name)
            require([run.preprocessing], self.preprocessing, f"runs.{name}", "preprocessing")
            if isinstance(run, DynadiffRun):
                require([run.generator], self.generators, f"runs.{name}", "generators")
                if run.pretrained:
                    require([run.pretrained.run], self.runs, f"runs.{name}", "runs")
                    require(run.pretrained.subjects, self.subjects, f"runs.{name}", "subjects")
        for name, test_set in self.test_sets.items():
            for window in test_set.windows:
                if window != "own":
                    self.window(window, where=f"test_sets.{name}")
        return self

    @property
    def resources(self) -> str:
        """Folder of what is downloaded."""
        return f"resources/{self.dataset}"

    @property
    def results(self) -> str:
        """Folder of what is made."""
        return f"results/{self.dataset}"

    def run(self, name: str) -> DynadiffRun | MeanImageRun:
        """Settings of the named run, its `base` merged in; see `split_run_name`.

        Raises
        ------
        ValueError
            The run or its base does not exist, or a setting is wrong.
        """
        if name not in self._runs:
            self._runs[name] = self._read_run(name)
        return self._runs[name]

    def _read_run(self, name: str) -> DynadiffRun | MeanImageRun:
        base, sessions = split_run_name(name)
        settings = self._merged(base, ()) | ({"sessions": sessions} if sessions else {})
        try:
            return TypeAdapter(Run).validate_python(settings)
        except ValidationError as error:
            raise ValueError("\n  ".join(messages(error, "runs", name))) from None

    def _merged(self, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
        if name in seen:
            raise ValueError(f"runs: {' -> '.join((*seen, name))} is a circle")
        require([name], self.runs, "runs", "runs")
        settings = dict(self.runs[name])
        base = settings.pop("base", None)
        return (
            settings if base is None else _merge(self._merged(str(base), (*seen, name)), settings)
        )

    def window(self, name: str, where: str = "windows") -> Window:
        """The named window; ``main+2`` is ``main`` two TRs later."""
        base, shift = split_window_name(name)
        require([base], self.windows, where, "windows")
        window = self.windows[base]
        try:
            return Window(start_s=window.start_s + shift * TR_S, n_tr=window.n_tr)
        except ValidationError as error:
            raise ValueError(f"{where}: window {name!r}: {messages(error)[0]}") from None


def split_run_name(name: str) -> tuple[str, int | None]:
    """``dynadiff-10sessions`` is run ``dynadiff`` trained on its first 10 sessions."""
    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?:-([1-9][0-9]?)sessions)?", name)
    if match is None:
        raise ValueError(f"run {name!r}: expected a name of `runs`, as in dynadiff")
    return match[1], int(match[2]) if match[2] else None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
