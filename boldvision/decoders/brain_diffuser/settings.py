"""Settings of Brain-Diffuser."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from boldvision.config import runs as config
from boldvision.config.section import Name, Section
from boldvision.decoders.brain_diffuser.predicted import KINDS

if TYPE_CHECKING:
    from boldvision.config import Config


class Alphas(Section):
    """Penalties of squared weights: not divided by the number of samples, as scikit-learn's."""

    latents: float = Field(50_000, gt=0, le=1e12, description="of latents of the VDVAE")
    image_tokens: float = Field(60_000, gt=0, le=1e12, description="of CLIP's tokens of images")
    text_tokens: float = Field(100_000, gt=0, le=1e12, description="of CLIP's tokens of captions")


class Ridge(Section):
    """The regressions."""

    alphas: Alphas = Alphas()
    examples: Literal["single_trials", "image_means"] = Field(
        "single_trials", description="samples: windows of all trials, or their mean for each image"
    )
    time: Literal["flatten", "mean"] = Field(
        "flatten", description="features of a window: all of its samples, or their mean over time"
    )
    standardize: bool = Field(
        True, description="divide each feature by its deviation over training samples, as published"
    )


class Reconstruction(config.Reconstruction):
    """From predictions to pictures."""

    rescale: Literal["test_set", "train"] = Field(
        "test_set",
        description="what predictions are compared with to have the mean and deviation of training "
        "targets: those of all windows of the test set, as published, or those of training images "
        "that are left out, one after the other",
    )
    steps: int = Field(50, ge=2, le=1000, description="steps of DDIM from pure noise")
    strength: float = Field(
        0.75, gt=0, lt=1, description="part of these steps that the first picture goes through"
    )
    guidance_scale: float = Field(7.5, ge=0, le=100, description="of both conditions")
    text_share: float = Field(
        0.4, ge=0, le=1, description="of the text; the rest is the image's share"
    )
    precision: Literal["no", "fp16", "bf16"] = Field("no", description="mixed precision; no: fp32")
    rounding: Literal["nearest", "truncate"] = Field(
        "truncate", description="of pixels to integers; truncate: as published"
    )
    blur_faces: bool = Field(
        False, description="blur faces before pictures are kept and scored; as published, not"
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
    """Settings of a Brain-Diffuser model."""

    decoder: Literal["brain_diffuser"] = Field(description="a package of boldvision.decoders")
    pretrained: None = Field(None, description="null: regressions are of one subject's voxels")
    generator: Name = Field(description="a name of `generators`, of a dual kind")
    vdvae: Name = Field(description="a name of `networks`: makes the first picture of latents")
    clip: Name = Field(
        description="a name of `networks`: what an image and a text without content are"
    )
    latents: Name = Field(description="a name of `targets`: latents of `vdvae`")
    image_tokens: Name = Field(description="a name of `targets`: tokens of images by `clip`")
    text_tokens: Name = Field(description="a name of `targets`: tokens of captions by `clip`")
    ridge: Ridge = Ridge()
    reconstruction: Reconstruction = Reconstruction()

    identified: ClassVar = 0.80
    reads: ClassVar = ("targets",)

    def generator_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.generator,)

    def latent_generator(self) -> str:
        """The same."""
        return self.generator

    def network_names(self) -> tuple[str, ...]:
        """Those that make pictures."""
        return (self.vdvae, self.clip)

    def target_names(self) -> tuple[str, ...]:
        """What is predicted."""
        return tuple(getattr(self, key) for key in KINDS)

    def stage_generators(self, stage: str) -> tuple[str, ...]:
        """None: a regression reads targets alone."""
        return ()

    def stage_networks(self, stage: str) -> tuple[str, ...]:
        """None, likewise."""
        return ()

    def check(self, config: Config) -> None:
        """Targets must be of the networks that the run names, the generator of a dual kind."""
        for key, kind in KINDS.items():
            name, network = getattr(self, key), self.vdvae if kind == "vdvae" else self.clip
            target = config.target(name)
            if target.kind != kind or target.network_names() != (network,):
                raise ValueError(
                    f"`{key}`: expected a target of kind {kind} and network {network}, found "
                    f"{name!r} of kind {target.kind} and network "
                    f"{', '.join(target.network_names()) or 'none'}; name such a one of `targets`"
                )
        for key in ("vdvae", "clip"):
            if (found := config.network(getattr(self, key)).kind) != key:
                raise ValueError(
                    f"`{key}`: expected a network of kind {key}, found {getattr(self, key)!r} of "
                    f"kind {found}; name another"
                )
        if not (found := config.generators[self.generator].kind).endswith("_dual"):
            raise ValueError(
                f"`generator`: expected one of a dual kind, found {self.generator!r} of kind "
                f"{found}; name another"
            )
