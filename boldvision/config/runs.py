"""Generators, decoders and how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boldvision.config.section import REPOSITORY, Distinct, Name, Place, Section, Text, Word

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
Decay = Annotated[float, Field(ge=0, lt=1)]

Split = Literal["standard", "time_resolved", "time_resolved_leakage_free"]


class Generator(Section):
    """A latent diffusion model that turns condition tokens into images."""

    kind: Literal["tiny", "versatile_diffusion"] = Field(description="architecture")
    folder: Place = Field(description="folder with `image_unet`, `vae` and `scheduler`")
    repository: str | None = Field(
        None,
        pattern=REPOSITORY,
        description="Hugging Face repository that `folder` is fetched from; null: it is there",
    )
    revision: Word | None = Field(None, description="commit of `repository`")
    image_px: Pixels = Field(description="side of a generated image, pixels")
    tokens: Count = Field(description="condition tokens")
    width: Count = Field(description="channels of a condition token")
    label: Text = Field("", description="what the weights are; shown wherever results are shown")

    @model_validator(mode="after")
    def _is_pinned(self) -> Generator:
        if (self.repository is None) != (self.revision is None):
            raise ValueError("`repository` and `revision` need each other")
        return self


class BrainModule(Section):
    """Dynadiff's map from BOLD to condition tokens (paper, section 2.2)."""

    hidden: Count = Field(1552, description="channels after the subject layer")
    timestep_layers: Literal["own", "shared", "none"] = Field(
        "own", description="one linear layer per TR, one for all, or none (betas)"
    )
    aggregation: Literal["out", "in", "none"] = Field(
        "out", description="where time is merged: after the block, before it, or nowhere (betas)"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="probability, in training")


class Lora(Section):
    """Low-rank adapters on the U-Net's cross-attention."""

    rank: int = Field(4, ge=1, le=10_000, description="rank of the adapters")
    alpha: int = Field(4, ge=1, le=10_000, description="scale of the adapters is alpha / rank")


class Pretrained(Section):
    """A joint model of other subjects that a new subject starts from (paper, appendix E)."""

    run: Name = Field(description="a name of `runs`")
    subjects: Distinct[Name] = Field(min_length=1, description="subjects it was trained on")


class Training(Section):
    """Joint optimization of brain module and adapters (paper, appendix B)."""

    steps: Steps = Field(60000, description="optimizer steps")
    batch_size: Count = Field(320, description="global batch, whatever the number of GPUs")
    device_batch_size: Count = Field(
        40, description="largest batch of one device; the rest is accumulated"
    )
    learning_rate: float = Field(gt=0, le=10, description="peak of the schedule")
    weight_decay: float = Field(0.01, ge=0, le=100, description="AdamW's decoupled weight decay")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's decay of its moments")
    warmup_steps: int = Field(
        1000, ge=0, le=100_000_000, description="steps of linear rise to the peak"
    )
    gradient_clip: float | None = Field(
        None, gt=0, le=1e6, description="largest gradient norm; null: none"
    )
    offset_noise: float = Field(
        0.1, ge=0, le=10, description="strength of noise shared by all pixels"
    )
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
    checkpoint_every: Steps = Field(1000, description="steps between checkpoints")
    log_every: Steps = Field(100, description="steps between lines of the log")
    deepspeed: Place | None = Field(None, description="DeepSpeed configuration file; null: none")


class Reconstruction(Section):
    """Sampling (paper, section 2.2, Inference)."""

    steps: int = Field(20, ge=1, le=1000, description="DDIM steps")
    guidance_scale: float = Field(
        3.0, ge=0, le=100, description="3: the paper; 3.5: the released code"
    )
    batch_size: Count = Field(16, description="images sampled together; no effect on them")
    precision: Literal["no", "fp16", "bf16"] = Field("no", description="mixed precision; no: fp32")


class DynadiffRun(Section):
    """Settings of a Dynadiff model."""

    decoder: Literal["dynadiff"] = Field(description="a package of boldvision.decoders")
    split: Split = Field(description="which trials train and which test")
    sessions: int | None = Field(
        None, ge=1, le=40, description="train on the first sessions alone; null: all"
    )
    pretrained: Pretrained | None = Field(
        None, description="start from a joint model of other subjects; null: from scratch"
    )
    preprocessing: Name = Field(description="a name of `preprocessing`")
    generator: Name = Field(description="a name of `generators`")
    brain_module: BrainModule = BrainModule()
    finetune: Literal["lora", "cross_attention", "linear", "all", "none"] = Field(
        "lora",
        description="what of the U-Net is trained: adapters, the linear layers of cross-attention, "
        "all linear layers, everything or nothing (paper, Table 3)",
    )
    lora: Lora = Lora()
    training: Training
    reconstruction: Reconstruction = Reconstruction()


class MeanImageRun(Section):
    """Settings of the floor that decoders are compared with: predicts the mean training image."""

    decoder: Literal["mean_image"] = Field(description="a package of boldvision.decoders")
    split: Split = Field(description="which trials train and which test")
    preprocessing: Name = Field(description="a name of `preprocessing`")
    image_px: Pixels = Field(description="side of the predicted image, pixels")


Run = Annotated[DynadiffRun | MeanImageRun, Field(discriminator="decoder")]
