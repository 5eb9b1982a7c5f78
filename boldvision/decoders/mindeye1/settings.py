"""Settings of MindEye1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field, model_validator

from boldvision.config import runs as config
from boldvision.config.runs import Count
from boldvision.config.section import Name, Section
from boldvision.networks.clip.settings import Network as Clip

if TYPE_CHECKING:
    from boldvision.config import Config

Temperature = Annotated[float, Field(gt=0, le=10)]


class Brain(Section):
    """Residual perceptron from a window to tokens, and the contrastive head on these."""

    hidden: Count = Field(4096, description="channels of the residual blocks")
    blocks: Count = Field(4, description="residual blocks")
    projector: Count = Field(2048, description="channels of the contrastive head")
    dropout: float = Field(0.5, ge=0, lt=1, description="after the first layer")
    block_dropout: float = Field(0.15, ge=0, lt=1, description="in each block")


class Prior(Section):
    """Diffusion prior from tokens of a window to tokens of the image."""

    depth: Count = Field(6, description="layers of the transformer")
    heads: Count = Field(12, description="heads of attention")
    head_width: int = Field(64, ge=2, le=10_000, multiple_of=2, description="channels of a head")
    steps: int = Field(100, ge=2, le=10_000, description="diffusion steps, in training and after")
    condition_dropout: float = Field(
        0.2, ge=0, lt=1, description="fraction of samples without the window's tokens; likewise "
        "without the noisy image's"
    )  # fmt: skip
    weight: float = Field(30.0, ge=0, le=1e6, description="of its loss beside the contrastive one")


class Contrast(Section):
    """Contrastive losses: BiMixCo, and from some epoch on SoftCLIP."""

    mixed_epochs: float = Field(
        0.33, ge=0, le=1, description="part of the epochs that BiMixCo takes, rounded down to whole"
    )
    mixed_temperature: Temperature = Field(0.006, description="of BiMixCo")
    mixing: float = Field(
        0.15, gt=0, le=100, description="both parameters of the beta distribution"
    )
    mixed_share: float = Field(0.5, ge=0, le=1, description="probability that a window is mixed")
    unmoved: Literal["published", "whole"] = Field(
        "published",
        description="label of a window that is drawn as its own partner: published: one less its "
        "share, as the released code leaves it; whole: one",
    )
    soft_temperatures: tuple[Temperature, Temperature] = Field(
        (0.004, 0.0075), description="of SoftCLIP, at first and at the end, along a cosine"
    )


class Training(config.Training):
    """Optimization of one of the networks, in epochs."""

    epochs: Count = Field(240, description="parts of the training that its schedules count in")
    counted: Literal["steps", "samples"] = Field(
        "steps",
        description="steps: the training takes `steps` steps, as published; samples: in an epoch "
        "every sample is shown once, and `steps` is what follows",
    )

    accumulates: ClassVar[bool] = False


class HighLevel(Training):
    """Joint training of the map to CLIP tokens and of the prior."""

    augment: bool = Field(
        True,
        description="whether images are augmented, and CLIP computes the target of each anew; "
        "false: of the images as they are, from the target file",
    )
    brain: Brain = Brain()
    prior: Prior = Prior()
    contrast: Contrast = Contrast()


class LowLevel(Training):
    """Training of the map to latents of a blurry picture."""

    hidden: Count = Field(4096, description="channels of the residual blocks")
    blocks: Count = Field(4, description="residual blocks")
    dropout: float = Field(0.5, ge=0, lt=1, description="after the first layer")
    block_dropout: float = Field(0.25, ge=0, lt=1, description="in each block")
    channels: int = Field(
        64, ge=1, le=10_000, description="of the map that the latents are decoded from"
    )
    side: int = Field(16, ge=1, le=1000, description="of that map, a quarter of the latents'")
    decoder_channels: tuple[Count, ...] = Field(
        (64, 128, 256), min_length=1, description="of the decoder's blocks"
    )
    teacher_weight: float = Field(0.1, gt=0, le=1e6, description="of the contrast with a teacher")
    teacher_temperature: Temperature = Field(0.075, description="of that contrast")


class Reconstruction(config.Reconstruction):
    """Sampling, and the choice of a candidate."""

    candidates: Count = Field(
        16, description="samples of the prior per picture; the one nearest to the window is kept. "
        "16: the paper; 1: what the released code takes unless told"
    )  # fmt: skip
    low_level: bool = Field(True, description="whether pictures begin with the blurry one")
    strength: float = Field(0.85, gt=0, le=1, description="part of the steps that are taken then")
    blurry: Literal["clip_normalised", "plain"] = Field(
        "clip_normalised",
        description="the blurry picture that is encoded: clip_normalised: less CLIP's mean and "
        "divided by its deviation, as the released code does by mistake; plain: as it was decoded",
    )
    steps: int = Field(20, ge=2, le=1000, description="steps of the sampler, UniPC")
    guidance_scale: float = Field(3.5, ge=0, le=100, description="of the image's tokens")
    precision: Literal["no", "fp16", "bf16"] = Field(
        "no", description="of the generator; no: fp32. Brain networks and prior are fp32"
    )

    @model_validator(mode="after")
    def _takes_steps(self) -> Reconstruction:
        if int(self.strength * self.steps) == 0:
            raise ValueError(
                f"`strength`: {self.strength:g} of `steps`, {self.steps}, is less than one step; "
                "raise one of them"
            )
        return self


class Run(config.BaseRun):
    """Settings of a MindEye1 model."""

    identified: ClassVar = 0.75

    decoder: Literal["mindeye1"] = Field(description="a package of boldvision.decoders")
    pretrained: None = None
    generator: Name = Field(description="a name of `generators`, whose image U-Net draws")
    clip: Name = Field(description="a name of `networks`, of kind clip")
    tokens: Name = Field(
        description="a name of `targets`: image tokens of that network; read unless `augment`"
    )
    latents: Name = Field(description="a name of `targets`: posteriors of an autoencoder")
    teacher: Name = Field(description="a name of `networks`, of kind convnext")
    samples: Literal["trials", "images"] = Field(
        "trials",
        description="what is counted and shuffled in training: trials, or images, of which a step "
        "shows a repetition, as the released code does with averaged betas",
    )
    high_level: HighLevel
    low_level: LowLevel
    reconstruction: Reconstruction = Reconstruction()

    def generator_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.generator,)

    def stage_generators(self, stage: str) -> tuple[str, ...]:
        """Training draws nothing."""
        return ()

    def network_names(self) -> tuple[str, ...]:
        """CLIP and the teacher of the blurry picture."""
        return (self.clip, self.teacher)

    def stage_networks(self, stage: str) -> tuple[str, ...]:
        """CLIP where images are augmented, or the teacher."""
        if stage == "low_level":
            return (self.teacher,)
        return (self.clip,) if self.high_level.augment else ()

    def target_names(self) -> tuple[str, ...]:
        """What its stages read of the training images."""
        return (*self.stage_targets("high_level"), self.latents)

    def stage_targets(self, stage: str) -> tuple[str, ...]:
        """Tokens, unless images are augmented; or latents."""
        if stage == "low_level":
            return (self.latents,)
        return () if self.high_level.augment else (self.tokens,)

    def check(self, config: Config) -> None:
        """Targets and networks must be of the kinds that are asked for, and fit each other."""
        for key, kind in (("clip", "clip"), ("teacher", "convnext")):
            if (found := config.network(getattr(self, key)).kind) != kind:
                raise ValueError(
                    f"`{key}`: expected a network of kind {kind}, found one of {found}"
                )
        for key, kind in (("tokens", "clip_image"), ("latents", "vae")):
            if getattr(self, key) not in self.target_names():
                continue
            if (found := config.target(getattr(self, key)).kind) != kind:
                raise ValueError(f"`{key}`: expected a target of kind {kind}, found one of {found}")
            if key == "tokens" and config.target(self.tokens).network_names() != (self.clip,):
                raise ValueError(
                    f"`tokens`: expected a target of the network {self.clip}; name one"
                )
        generator, clip = config.generators[self.generator], cast(Clip, config.network(self.clip))
        if (generator.tokens, generator.width) != (clip.image_tokens, clip.width):
            raise ValueError(
                f"`generator`: expected one of {clip.image_tokens} x {clip.width} tokens, which "
                f"{self.clip} makes of an image, found {self.generator} of {generator.tokens} x "
                f"{generator.width}; name another"
            )
