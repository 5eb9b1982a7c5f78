"""Settings of Dynadiff."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from boldvision.config import runs as config
from boldvision.config.runs import Count
from boldvision.config.section import Name, Section

if TYPE_CHECKING:
    from boldvision.config import Config


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


class Training(config.Training):
    """Joint optimization of brain module and adapters (paper, appendix B)."""

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


class Reconstruction(config.Reconstruction):
    """Sampling (paper, section 2.2, Inference)."""

    sampler: Literal["ddim", "ddpm"] = Field(
        "ddim", description="ddim: the paper; ddpm, ancestral: the released code"
    )
    steps: int = Field(20, ge=1, le=1000, description="steps of the sampler")
    initial_noise: Literal["per_image", "shared"] = Field(
        "per_image", description="that of each picture is its own, or, as released, one for all"
    )
    guidance_scale: float = Field(
        3.0, ge=0, le=100, description="3: the paper; 3.5: the released code"
    )
    precision: Literal["no", "fp16", "bf16"] = Field("no", description="mixed precision; no: fp32")
    rounding: Literal["nearest", "truncate"] = Field(
        "nearest", description="of pixels to integers; truncate: the released code"
    )
    blur_faces: bool = Field(
        False,
        description="blur faces before pictures are kept and scored, as the released code does",
    )


class Run(config.BaseRun):
    """Settings of a Dynadiff model."""

    identified: ClassVar = 0.80

    decoder: Literal["dynadiff"] = Field(description="a package of boldvision.decoders")
    generator: Name = Field(description="a name of `generators`")
    latents: Name = Field(description="a name of `targets`: posteriors of the generator's VAE")
    brain_module: BrainModule = BrainModule()
    finetune: Literal["lora", "cross_attention", "linear", "all", "none"] = Field(
        "lora",
        description="what of the U-Net is trained: adapters, the linear layers of cross-attention, "
        "all linear layers, everything or nothing (paper, Table 3)",
    )
    lora: Lora = Lora()
    training: Training
    reconstruction: Reconstruction = Reconstruction()

    def generator_names(self) -> tuple[str, ...]:
        """The one that is adapted."""
        return (self.generator,)

    def latent_generator(self) -> str:
        """The same."""
        return self.generator

    def target_names(self) -> tuple[str, ...]:
        """The latents of the training images."""
        return (self.latents,)

    def check(self, config: Config) -> None:
        """The latents must be those of the generator, and the model to start from a Dynadiff."""
        if (start := self.pretrained) and config.run(start.run).decoder != self.decoder:
            raise ValueError(
                f"`pretrained`: expected a run of decoder {self.decoder}, found {start.run!r} of "
                f"{config.run(start.run).decoder}; name another"
            )
        target = config.target(self.latents)
        if target.kind != "vae" or target.generator_names() != (self.generator,):
            raise ValueError(
                f"`latents`: expected a target of kind vae and generator {self.generator}, found "
                f"{self.latents!r} of kind {target.kind} and generator "
                f"{', '.join(target.generator_names()) or 'none'}; name such an entry of `targets`"
            )
