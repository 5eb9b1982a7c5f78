"""The configuration: every key, its type, its meaning.

``Config`` validates the mapping that Snakemake reads from ``--configfile``. A misspelt key is an
error. ``python -m boldvision config --markdown`` prints the table of keys in ``config/README.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from boldvision import plugins
from boldvision.config.dataset import S3, Bucket, Coco, Design, Miniature, Subject
from boldvision.config.figures import Figures
from boldvision.config.messages import messages
from boldvision.config.runs import (
    BaseRun,
    Generator,
    Pretrained,
    Reconstruction,
    Split,
    Training,
)
from boldvision.config.scoring import Metrics, Network, TestSet
from boldvision.config.section import (
    Distinct,
    Metric,
    Name,
    Place,
    Section,
    Seed,
    Shift,
    Text,
    require,
)
from boldvision.config.signal import (
    Betas,
    Fmriprep,
    FmriprepJob,
    NsdPrep,
    Preprocessing,
    Window,
    split_window_name,
)
from boldvision.errors import UserError
from boldvision.plugins import Named

__all__ = [
    "S3",
    "BaseRun",
    "Betas",
    "Bucket",
    "Coco",
    "Config",
    "Costs",
    "Design",
    "Figures",
    "Fmriprep",
    "FmriprepJob",
    "Gallery",
    "Generator",
    "Metrics",
    "Miniature",
    "Network",
    "NsdPrep",
    "Preprocessing",
    "Pretrained",
    "Reconstruction",
    "Scope",
    "Section",
    "Split",
    "Subject",
    "TestSet",
    "Training",
    "Window",
    "split_window_name",
]

if TYPE_CHECKING:
    from boldvision.networks.settings import BaseNetwork
    from boldvision.targets.settings import BaseTarget

T = TypeVar("T")

RESERVED = ("own", "specialized")
"""In test sets and in the runs table, these are no names of windows."""

Rate = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(gt=0, le=1)]


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
        default_factory=list,
        description="numbers of training sessions of the first subject (paper, Figure 9)",
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
    """How fast `plan_paper` takes a GPU to be, until `benchmark_gpu` or trained models tell."""

    gpu: Text = Field(description="the GPU that hours are of, or a CPU core")
    peak_teraflop_per_s: Rate = Field(
        description="its operations at best, 10^12 per second: 312 of an A100, 989 of an H100 "
        "(bf16, dense)"
    )
    share: tuple[Share, Share] = Field(
        description="what training and sampling are taken to reach of that peak: at least, at most"
    )
    score_values_per_s: Rate = Field(description="values (images x metrics) per GPU and second")
    job_s: float = Field(0.0, ge=0, le=1e6, description="what every job takes to begin, s")
    source: Text = Field(description="what `share` and the rates rest on")

    @model_validator(mode="after")
    def _is_a_range(self) -> Costs:
        if self.share[0] > self.share[1]:
            raise ValueError(f"`share`: expected the smaller one first, found {list(self.share)}")
        return self


class Config(Section):
    """The whole configuration."""

    dataset: Name = Field(description="names the folders of this dataset")
    nsd_terms_accepted: bool = Field(
        False,
        description="true: you signed the NSD Data Access Agreement (naturalscenesdataset.org)",
    )
    s3: S3 = S3()
    coco: Coco = Coco()
    raw: Place | None = Field(None, description="an existing copy of the bucket, used in place")
    keep_raw: bool = Field(
        False,
        description="true: raw data stay when they are prepared, so that another preprocessing "
        "fetches nothing again; false: they are removed",
    )
    seed: Seed = Field(0, description="seed of training, sampling noise and bootstraps")
    data_seed: Seed = Field(
        0, description="seed of the splits and of the repetition drawn for a test image"
    )
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
    plugins: Distinct[Place] = Field(
        default_factory=list, description="folders of decoders, targets and networks of your own"
    )
    networks: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="frozen networks that targets and teachers are made of: a kind of network and "
        "its settings; laid over the networks' own, boldvision/networks/KIND/networks.yaml",
    )
    targets: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="what frozen networks make of images: a kind of target and its settings; laid "
        "over the targets' own, boldvision/targets/KIND/targets.yaml",
    )
    runs: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="named models: a decoder's settings, or `base:` and what differs from it; laid "
        "over the decoders' own, boldvision/decoders/NAME/runs.yaml",
    )
    metrics: Metrics
    runs_table: Place | None = Field(
        None,
        description="what each table and figure needs, in place of the decoders' own rows, "
        "boldvision/decoders/NAME/runs.tsv",
    )
    scope: Name = Field(description="scope of `all` and of single tables and figures")
    scopes: dict[Name, Scope]
    figures: Figures
    gallery: Gallery
    blur_faces: bool = Field(
        True, description="blur faces in every reconstruction that a figure or the gallery shows"
    )
    costs: Costs
    _runs: dict[str, BaseRun] = PrivateAttr(default_factory=dict)
    _named: dict[str, Named] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _find_named(self) -> Config:
        """First of all: the others ask for runs and targets."""
        try:
            plugins.use(self.plugins)
            for kind in plugins.PACKAGES:
                section = "runs" if kind == "decoders" else kind
                own = getattr(self, section)
                self._named[section] = plugins.named(kind, own, self.miniature is not None)
        except UserError as error:
            raise ValueError(str(error)) from None
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
        for name in self.network_names:
            self.network(name)
        for name in self.target_names:
            target, where = self.target(name), f"targets.{name}"
            require(target.generator_names(), self.generators, where, "generators")
            require(target.network_names(), self.network_names, where, "networks")
        for name in self.run_names:
            self._check_run(name, self.run(name))
        for name, test_set in self.test_sets.items():
            for window in test_set.windows:
                if window != "own":
                    self.window(window, where=f"test_sets.{name}")
        return self

    @model_validator(mode="after")
    def _sessions_exist(self) -> Config:
        # The other subjects of a run are known where the runs table is read.
        longest = max(self.subjects, key=lambda name: self.subjects[name].sessions)
        for name, scope in self.scopes.items():
            if most := max(scope.few_sessions, default=None):
                self.require_sessions(most, scope.subjects[0], f"scopes.{name}.few_sessions")
        for name in self.run_names:
            trained = [(name, longest)]
            if start := self.run(name).pretrained:
                trained += [(start.run, subject) for subject in start.subjects]
            for run, subject in trained:
                if wanted := self.run(run).sessions:
                    self.require_sessions(wanted, subject, f"runs.{run}.sessions")
        return self

    @model_validator(mode="after")
    def _fits_the_dataset(self) -> Config:
        from boldvision.datasets.choose import dataset_of  # which imports this module

        dataset = dataset_of(self)
        dataset.check(self)
        for name, subject in self.subjects.items():
            if self.time_resolved_test_runs >= (runs := dataset.task_runs(subject)):
                raise ValueError(
                    f"time_resolved_test_runs: {self.time_resolved_test_runs} of the {runs} task "
                    f"runs of {name} leave none to train on; hold out fewer"
                )
        return self

    @property
    def run_names(self) -> list[str]:
        """All runs: the decoders' own, and those of the configuration."""
        return list(self._named["runs"].settings)

    @property
    def target_names(self) -> list[str]:
        """All targets: those that their kinds bring, and those of the configuration."""
        return list(self._named["targets"].settings)

    @property
    def network_names(self) -> list[str]:
        """All networks: those that their kinds bring, and those of the configuration."""
        return list(self._named["networks"].settings)

    def run(self, name: str) -> Any:
        """Settings of the named run, its `base` merged in; see `split_run_name`.

        Returns
        -------
        BaseRun
            Of the class ``Run`` of its decoder.

        Raises
        ------
        ValueError
            The run or its base does not exist, or a setting is wrong.
        """
        if name not in self._runs:
            base, sessions = split_run_name(name)
            settings = self._merged("runs", base) | ({"sessions": sessions} if sessions else {})
            self._runs[name] = _validated(plugins.run_settings, settings, "runs", name)
        return self._runs[name]

    def target(self, name: str) -> BaseTarget:
        """Settings of the named target.

        Raises
        ------
        ValueError
            It does not exist, or a setting is wrong.
        """
        return _validated(plugins.target_settings, self._merged("targets", name), "targets", name)

    def network(self, name: str) -> BaseNetwork:
        """Settings of the named network.

        Raises
        ------
        ValueError
            It does not exist, or a setting is wrong.
        """
        settings = self._merged("networks", name)
        return _validated(plugins.network_settings, settings, "networks", name)

    def latents_of(self, run: str, test_set: str) -> str | None:
        """The generator whose latents a test set keeps of a run; None: it keeps pictures."""
        if self.test_sets[test_set].stored == "pictures":
            return None
        return self.run(run).latent_generator()

    def require_sessions(self, wanted: int, subject: str, where: str) -> None:
        """Raise ValueError unless the subject has the sessions that `where` asks for."""
        if wanted > (known := self.subjects[subject].sessions):
            raise ValueError(
                f"{where}: {wanted} sessions are more than {subject} has, {known}; lower it, or "
                "choose another subject"
            )

    def _check_run(self, name: str, run: BaseRun) -> None:
        where = f"runs.{name}"
        require([run.preprocessing], self.preprocessing, where, "preprocessing")
        require(run.generator_names(), self.generators, where, "generators")
        require(run.target_names(), self._named["targets"].settings, where, "targets")
        require(run.network_names(), self.network_names, where, "networks")
        if run.pretrained:
            require([run.pretrained.run], self._named["runs"].settings, where, "runs")
            require(run.pretrained.subjects, self.subjects, where, "subjects")
        try:
            run.check(self)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _merged(self, section: str, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
        """Named settings, over those of their `base`."""
        named = self._named[section]
        if name in seen:
            raise ValueError(f"{section}: {' -> '.join((*seen, name))} is a circle")
        require([name], named.settings, section, section)
        if name in named.unstated:
            raise ValueError(
                f"{section}.{name}: {named.unstated[name]} has settings for the miniature alone; "
                "expected those for real data too, {} if they are the same: state them there below "
                f"`real`, or all of them as {section}.{name} in your configuration"
            )
        settings = dict(named.settings[name])
        base = settings.pop("base", None)
        if base is not None:
            return plugins.merge(self._merged(section, str(base), (*seen, name)), settings)
        return settings

    def window(self, name: str, where: str = "windows") -> Window:
        """The named window; ``main+2`` is ``main`` two samples later."""
        base, shift = split_window_name(name)
        require([base], self.windows, where, "windows")
        try:
            return self.windows[base].shifted(shift)
        except ValidationError as error:
            raise ValueError(f"{where}: window {name!r}: {messages(error)[0]}") from None


def split_run_name(name: str) -> tuple[str, int | None]:
    """``joint-10sessions`` is run ``joint`` trained on its first 10 sessions."""
    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?:-([1-9][0-9]?)sessions)?", name)
    if match is None:
        raise ValueError(f"run {name!r}: expected a name of `runs`")
    return match[1], int(match[2]) if match[2] else None


def _validated(read: Callable[[dict[str, Any]], T], values: dict[str, Any], *place: str) -> T:
    try:
        return read(values)
    except ValidationError as error:
        raise ValueError("\n  ".join(messages(error, *place))) from None
    except (UserError, ValueError) as error:
        raise ValueError(f"{'.'.join(place)}: {error}") from None
