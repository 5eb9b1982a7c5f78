"""The configuration: every key, its type, its meaning.

``Config`` validates the mapping that Snakemake reads from ``--configfile``. A misspelt key is an
error. ``python -m boldvision config --markdown`` prints the table of keys in ``config/README.md``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

Split = Literal["standard", "time_resolved", "time_resolved_leakage_free"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class S3(Section):
    """Where the raw data are."""

    bucket: str = Field("natural-scenes-dataset", description="S3 bucket")
    region: str = Field("us-east-2", description="AWS region of the bucket")
    endpoint: str | None = Field(None, description="S3 endpoint address; null means AWS")
    serve: str | None = Field(
        None, description="folder served as that bucket on loopback around each download"
    )


class Subject(Section):
    """A participant, as the bucket describes them; asserted when the data enter."""

    number: int = Field(ge=1, le=8, description="1-based row of `subjectim`")
    sessions: int = Field(ge=1, description="NSD core sessions")
    rest_sessions: list[int] = Field(
        default_factory=list, description="sessions of 14 files whose first and last run are rest"
    )
    grid: tuple[int, int, int] = Field(description="voxels of the func1pt8mm volume, X Y Z")
    voxels: int = Field(ge=1, description="voxels of nsdgeneral (label > 0)")


class Design(Section):
    """The experiment's size, asserted against nsd_expdesign.mat."""

    images: int = Field(73000, description="rows of the stimulus file")
    images_per_subject: int = Field(10000, description="distinct images of one subject")
    shared_images: int = Field(1000, description="images that every subject sees")
    image_px: int = Field(425, description="side of a stimulus, pixels")
    expdesign_sha256: str | None = Field(None, description="sha256 of nsd_expdesign.mat")


class Miniature(Section):
    """The simulated dataset with a known answer."""

    seed: int = Field(0, ge=0, description="seed of scenes, design, weights and noise")
    noise: float = Field(
        gt=0, description="std of the AR(1) noise, in units of the std of the image response"
    )
    ar1: float = Field(0.4, ge=0, lt=1, description="autocorrelation of the noise at lag 1 TR")


class Preprocessing(Section):
    """How volumes become a clean series."""

    detrend: Literal["cosine", "linear"] = Field(
        description="cosine: the paper; linear: the released code"
    )
    cutoff_s: float = Field(128.0, gt=0, description="longest period kept by cosine, s")
    dtype: Literal["float16", "float32"] = Field("float32", description="type on disk")


class Window(Section):
    """A stretch of the series relative to the onset of a trial's image."""

    start_s: float = Field(description="start after image onset, s")
    n_tr: int = Field(ge=1, description="samples (TRs)")


class TestSet(Section):
    """Which windows and which trials of a split's test part are reconstructed."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    windows: list[str] = Field(
        min_length=1, description="window names; `own` is the model's training window"
    )
    trials: Literal["one_repetition", "all", "averaged"] = Field(
        description="one drawn repetition per image, every trial, or the mean of the repetitions"
    )


class Generator(Section):
    """A latent diffusion model that turns condition tokens into images."""

    kind: Literal["tiny", "versatile_diffusion"] = Field(description="architecture")
    folder: str = Field(description="folder with `image_unet`, `vae` and `scheduler`")
    repository: str | None = Field(
        None, description="Hugging Face repository that `folder` is fetched from; null: it is there"
    )
    revision: str | None = Field(None, description="commit of `repository`")
    image_px: int = Field(description="side of a generated image, pixels")
    tokens: int = Field(description="condition tokens")
    width: int = Field(description="channels of a condition token")
    label: str = Field("", description="what the weights are; shown wherever results are shown")

    @model_validator(mode="after")
    def _is_pinned(self) -> Generator:
        if (self.repository is None) != (self.revision is None):
            raise ValueError("`repository` and `revision` need each other")
        return self


class BrainModule(Section):
    """Dynadiff's map from BOLD to condition tokens (paper, section 2.2)."""

    hidden: int = Field(1552, description="channels after the subject layer")
    timestep_layers: bool = Field(True, description="one linear layer per TR, or one for all")
    aggregation: Literal["out", "in"] = Field("out", description="where time is merged")
    dropout: float = Field(0.5, ge=0, lt=1, description="probability, in training")


class Lora(Section):
    """Low-rank adapters on the U-Net's cross-attention."""

    rank: int = Field(4, ge=1, description="rank of the adapters")
    alpha: int = Field(4, ge=1, description="scale of the adapters is alpha / rank")


class Training(Section):
    """Joint optimization of brain module and adapters (paper, appendix B)."""

    steps: int = Field(60000, ge=1, description="optimizer steps")
    batch_size: int = Field(320, ge=1, description="global batch, whatever the number of GPUs")
    device_batch_size: int = Field(
        40, ge=1, description="largest batch of one device; the rest is accumulated"
    )
    learning_rate: float = Field(gt=0, description="peak of the schedule")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's decay of its moments")
    warmup_steps: int = Field(1000, ge=0, description="steps of linear rise to the peak")
    gradient_clip: float | None = Field(None, description="largest gradient norm; null: none")
    offset_noise: float = Field(0.1, ge=0, description="strength of noise shared by all pixels")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="fraction of samples trained without condition"
    )
    unconditional: Literal["learned", "zeros"] = Field(
        "learned", description="learned: the paper; zeros: the released code"
    )
    timesteps: Literal["cubic", "uniform"] = Field(
        "cubic", description="how diffusion steps are drawn: cubic, as the paper, or uniform"
    )
    precision: Literal["no", "fp16", "bf16"] = Field("no", description="mixed precision; no: fp32")
    checkpoint_every: int = Field(1000, ge=1, description="steps between checkpoints")
    log_every: int = Field(100, ge=1, description="steps between lines of the log")
    deepspeed: str | None = Field(None, description="DeepSpeed configuration file; null: none")


class Reconstruction(Section):
    """Sampling (paper, section 2.2, Inference)."""

    steps: int = Field(20, ge=1, description="DDIM steps")
    guidance_scale: float = Field(3.0, description="3: the paper; 3.5: the released code")
    batch_size: int = Field(16, ge=1, description="images sampled together; no effect on them")
    precision: Literal["no", "fp16", "bf16"] = Field("no", description="mixed precision; no: fp32")


class DynadiffRun(Section):
    """Settings of a Dynadiff model."""

    decoder: Literal["dynadiff"] = Field(description="a package of boldvision.decoders")
    split: Split = Field(description="which trials train and which test")
    preprocessing: str = Field(description="a name of `preprocessing`")
    generator: str = Field(description="a name of `generators`")
    brain_module: BrainModule = BrainModule()
    lora: Lora | None = Lora()
    training: Training
    reconstruction: Reconstruction = Reconstruction()


class MeanImageRun(Section):
    """Settings of the floor of every table: predicts the mean training image."""

    decoder: Literal["mean_image"] = Field(description="a package of boldvision.decoders")
    split: Split = Field(description="which trials train and which test")
    preprocessing: str = Field(description="a name of `preprocessing`")
    image_px: int = Field(description="side of the predicted image, pixels")


Run = Annotated[DynadiffRun | MeanImageRun, Field(discriminator="decoder")]


class Network(Section):
    """A network that a metric compares images with."""

    name: str = Field(description="a network of boldvision.metrics.networks")
    weights: str = Field(
        description="`pretrained`, `pretrained@REVISION#sha256=DIGEST` to pin what the project "
        "could not, or `random` for seeded random weights (labelled as such)"
    )
    label: str = Field("", description="shown beside the metric when it is not the paper's network")


class Metrics(Section):
    """How reconstructions are scored."""

    protocol: Literal["dynadiff", "mindeye", "brain_diffuser"] = Field(
        "dynadiff", description="whose image sizes, layers and networks"
    )
    direction: Literal["prediction", "stimulus"] = Field(
        "prediction", description="two-way: each prediction against all stimuli, or the reverse"
    )
    networks: dict[str, Network]
    sets: dict[str, list[str]] = Field(description="named lists of metrics")
    bootstrap: int = Field(2000, ge=100, description="bootstrap samples of an interval")
    batch_size: int = Field(32, ge=1, description="images compared together; no effect on values")
    weights_folder: str = Field("resources/weights", description="where fetched networks lie")


class Scope(Section):
    """How much of the experiment matrix is run."""

    subjects: list[str] = Field(min_length=1, description="names of `subjects`")
    specialized_shifts: list[int] = Field(description="shifts, in TRs, with a model of their own")


class Config(Section):
    """The whole configuration."""

    dataset: str = Field(pattern=r"^[a-z0-9_]+$", description="names the folders of this dataset")
    nsd_terms_accepted: bool = Field(
        False,
        description="true: you signed the NSD Data Access Agreement (naturalscenesdataset.org)",
    )
    s3: S3 = S3()
    raw: str | None = Field(None, description="an existing copy of the bucket, used in place")
    seed: int = Field(0, ge=0, description="seed of every run, split and drawn repetition")
    gpus_per_job: int = Field(1, ge=0, description="GPUs of a training or sampling job; 0: CPU")
    subjects: dict[str, Subject]
    design: Design = Design()
    miniature: Miniature | None = Field(None, description="null: the dataset is real")
    preprocessing: dict[str, Preprocessing]
    time_resolved_test_runs: int = Field(45, ge=1, description="task runs per subject held out")
    windows: dict[str, Window]
    test_sets: dict[str, TestSet]
    generators: dict[str, Generator]
    runs: dict[str, dict[str, Any]] = Field(
        description="named models: a decoder's settings, or `base:` and what differs from it"
    )
    metrics: Metrics
    runs_table: str = Field("config/runs.tsv", description="what each table and figure needs")
    scope: str = Field(description="scope of `all` and of single tables and figures")
    scopes: dict[str, Scope]
    figures: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="what single figures show: shifts, trials, metrics"
    )

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for scope in self.scopes.values():
            _require(scope.subjects, self.subjects, "scopes: subject", "subjects")
        _require([self.scope], self.scopes, "scope", "scopes")
        for name in self.runs:
            run = self.run(name)
            _require([run.preprocessing], self.preprocessing, f"runs.{name}", "preprocessing")
            if isinstance(run, DynadiffRun):
                _require([run.generator], self.generators, f"runs.{name}", "generators")
        for name, test_set in self.test_sets.items():
            for window in test_set.windows:
                if window != "own":
                    self.window(window, where=f"test_sets.{name}")
        return self

    def run(self, name: str) -> DynadiffRun | MeanImageRun:
        """Settings of the named run, its `base` merged in.

        Raises
        ------
        ValueError
            The run or its base does not exist, or a setting is wrong.
        """
        try:
            return TypeAdapter(Run).validate_python(self._merged(name, ()))
        except ValidationError as error:
            wrong = []
            for line in error.errors():
                _decoder, *place = line["loc"] or [""]
                wrong.append(f"{'.'.join(map(str, ['runs', name, *place]))}: {line['msg']}")
            raise ValueError("\n  ".join(wrong)) from None

    def _merged(self, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
        if name in seen:
            raise ValueError(f"runs: {' -> '.join((*seen, name))} is a circle")
        _require([name], self.runs, "runs", "runs")
        settings = dict(self.runs[name])
        base = settings.pop("base", None)
        return settings if base is None else _merge(self._merged(base, (*seen, name)), settings)

    def window(self, name: str, where: str = "windows") -> Window:
        """The named window; ``main+2`` is ``main`` two TRs later."""
        base, shift = split_window_name(name)
        _require([base], self.windows, where, "windows")
        window = self.windows[base]
        return window.model_copy(update={"start_s": window.start_s + shift * TR_S})


TR_S = 4 / 3
"""Sampling period of func1pt8mm, s (NSD Data Manual, time series)."""


def split_window_name(name: str) -> tuple[str, int]:
    """``main+2`` is window ``main`` shifted by 2 TRs; ``main`` is shifted by 0."""
    match = re.fullmatch(r"([a-z][a-z0-9_]*)([+-]\d+)?", name)
    if match is None:
        raise ValueError(f"window {name!r}: expected a name of `windows`, as in main or main+2")
    return match[1], int(match[2] or 0)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _require(names: list[str], known: dict[str, Any], where: str, section: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                f"{where}: {name!r} is not in `{section}`, which has {', '.join(sorted(known))}"
            )
