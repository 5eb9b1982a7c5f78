"""Generators, and what the settings of every decoder have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from boldvision.config.section import REPOSITORY, Distinct, Name, Place, Section, Text, Word
from boldvision.trials import splits

if TYPE_CHECKING:
    from boldvision.config import Config

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
Decay = Annotated[float, Field(ge=0, lt=1)]


def _known_split(name: str) -> str:
    if name not in splits.names():
        raise ValueError(
            f"found {name!r}, expected one of {', '.join(splits.names())}, the modules of "
            "boldvision.trials.splits"
        )
    return name


Split = Annotated[
    str, AfterValidator(_known_split), Field(json_schema_extra={"enum": splits.names()})
]


class Generator(Section):
    """A latent diffusion model that turns condition tokens into images."""

    kind: Literal["tiny", "tiny_dual", "versatile_diffusion", "versatile_diffusion_dual"] = Field(
        description="architecture; dual: conditioned on an image and a text, mixed"
    )
    folder: Place = Field(
        description="folder with `image_unet`, `vae`, `scheduler`, and of a dual kind `text_unet`"
    )
    repository: str | None = Field(
        None,
        pattern=REPOSITORY,
        description="Hugging Face repository that `folder` is fetched from; null: it is there",
    )
    revision: Word | None = Field(None, description="commit of `repository`")
    image_px: Pixels = Field(description="side of a generated image, pixels")
    tokens: Count = Field(description="condition tokens")
    width: Count = Field(description="channels of a condition token")
    text_tokens: Count | None = Field(
        None, description="tokens of a text that also conditions; null: not a dual kind"
    )
    text_width: Count | None = Field(None, description="channels of such a token")
    label: Text = Field("", description="what the weights are; shown wherever results are shown")

    @model_validator(mode="after")
    def _is_pinned(self) -> Generator:
        if (self.repository is None) != (self.revision is None):
            raise ValueError("`repository` and `revision` need each other")
        return self

    @model_validator(mode="after")
    def _has_text(self) -> Generator:
        dual = self.kind.endswith("_dual")
        for key in ("text_tokens", "text_width"):
            if (getattr(self, key) is not None) != dual:
                raise ValueError(
                    f"found kind {self.kind!r} {'without' if dual else 'with'} `{key}`; expected "
                    "`text_tokens` and `text_width` with a dual kind, and no other"
                )
        return self


class Pretrained(Section):
    """A model of other subjects that a new subject starts from (paper, appendix E)."""

    run: Name = Field(description="a name of `runs`")
    subjects: Distinct[Name] = Field(min_length=1, description="subjects it was trained on")


class OneCycle(Section):
    """Learning rate and momentum in one cycle, each along two halves of a cosine."""

    peak_at: float = Field(0.3, gt=0, lt=1, description="part of the steps that the rate rises")
    start: float = Field(25.0, ge=1, le=1e9, description="peak, divided by the rate at first")
    end: float = Field(1e4, ge=1, le=1e9, description="rate at first, divided by that at last")
    momentum: tuple[Decay, Decay] = Field(
        (0.95, 0.85), description="AdamW's first beta at first and at last, and at the peak"
    )


class Training(Section):
    """Optimization of a network that a decoder trains."""

    accumulates: ClassVar[bool] = True
    """Whether a device's share of a batch may be computed in parts."""

    steps: Steps = Field(60000, description="optimizer steps")
    batch_size: Count = Field(320, description="global batch, whatever the number of GPUs")
    device_batch_size: Count = Field(
        40, description="largest batch of one device; the rest is accumulated"
    )
    learning_rate: float = Field(gt=0, le=10, description="peak of the schedule")
    weight_decay: float = Field(0.01, ge=0, le=100, description="AdamW's decoupled weight decay")
    undecayed: tuple[Name, ...] = Field(
        (), description="parameters whose name contains one of these are not decayed"
    )
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's decay of its moments")
    warmup_steps: int = Field(
        1000,
        ge=0,
        le=100_000_000,
        description="steps of linear rise to the peak, unless there is `one_cycle`",
    )
    one_cycle: OneCycle | None = Field(
        None, description="rise and fall in place of these steps and a cosine to zero; null: not"
    )
    gradient_clip: float | None = Field(
        None, gt=0, le=1e6, description="largest gradient norm; null: none"
    )
    precision: Literal["no", "fp16", "bf16"] = Field("no", description="mixed precision; no: fp32")
    activation_checkpointing: bool = Field(
        False, description="compute activations twice, not keep them: a quarter of the memory"
    )
    compile: bool = Field(
        False,
        description="whether `torch.compile` fuses what is trained: faster after two minutes, with "
        "less memory; needs a C compiler",
    )
    checkpoint_every_s: float = Field(
        1800, ge=0, le=1e6, description="seconds between checkpoints, written beside the training"
    )
    log_every: Steps = Field(100, description="steps between lines of the log")
    deepspeed: Place | None = Field(None, description="DeepSpeed configuration file; null: none")


class Reconstruction(Section):
    """How pictures are made with a trained model."""

    batch_size: Count = Field(16, description="images made together; no effect on them")


class BaseRun(Section):
    """Settings of a model, whatever its decoder; each adds its own in a class ``Run``.

    A field that is named like a stage of the decoder belongs to that stage alone, `reconstruction`
    to what is done with the model; all others belong to every stage. A rule passes what belongs to
    others as ``--job``, a resource (``JOBS.stage_job``), which reruns nothing.
    """

    decoder: Name = Field(description="a package of boldvision.decoders, or of a plug-in")
    split: Split = Field(description="which trials train and which test")
    sessions: int | None = Field(
        None, ge=1, le=40, description="train on the first sessions alone; null: all"
    )
    pretrained: Pretrained | None = Field(
        None, description="start from a model of other subjects; null: from scratch"
    )
    preprocessing: Name = Field(description="a name of `preprocessing`")
    reconstruction: Reconstruction = Reconstruction()

    environment: ClassVar[str] = "train"
    """Conda environment of reconstruction: a file of ``envs/``, or its full path, less .yaml."""

    identified: ClassVar[float | None] = None
    """Least two-way identification, by pixels and AlexNet(2), of the miniature's test images; None:
    nothing is known of its answer, and nothing checked."""

    random: ClassVar[bool] = True
    """Whether the seed changes the pictures."""

    label: ClassVar[str] = ""
    """What its weights are if they were not trained here; shown wherever its results are."""

    reads: ClassVar[tuple[Literal["images", "targets"], ...]] = ()
    """What reconstruction reads of the tested subject beside trials and BOLD."""

    def generator_names(self) -> tuple[str, ...]:
        """Entries of `generators` that the model uses."""
        return ()

    def network_names(self) -> tuple[str, ...]:
        """Entries of `networks` that the model uses, beside those of its targets."""
        return ()

    def target_names(self) -> tuple[str, ...]:
        """Entries of `targets` that the model is trained on."""
        return ()

    def latent_generator(self) -> str | None:
        """Entry of `generators` whose VAE decodes `Decoder.latents`; None: it has only pictures."""
        return None

    def stage_generators(self, stage: str) -> tuple[str, ...]:
        """Of `generator_names`, those that a stage of training uses: it reruns for no other."""
        return self.generator_names()

    def stage_networks(self, stage: str) -> tuple[str, ...]:
        """Of `network_names`, those that a stage of training uses: it reruns for no other."""
        return self.network_names()

    def stage_targets(self, stage: str) -> tuple[str, ...]:
        """Of `target_names`, those that a stage of training reads: it reruns for no other."""
        return self.target_names()

    def downloads(self) -> tuple[str, ...]:
        """Files that rules of its decoder fetch from a network, beside data and generators."""
        return ()

    def lacks(self) -> str:
        """What the run needs and has not yet, in a sentence; until then it is in no table."""
        return ""

    def check(self, config: Config) -> None:
        """Raise ValueError if the run does not fit the rest of the configuration."""
