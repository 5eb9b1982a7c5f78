"""What a Dynadiff model costs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from boldvision.config import Generator
from boldvision.costs import Picture, Sizes, Work
from boldvision.decoders.dynadiff.settings import Lora, Run
from boldvision.shipped import shipped


def training(run: Run, sizes: Sizes) -> dict[str, Work]:
    """Every sample passes through brain module and U-Net; what is trained is written."""
    parameters = trained_parameters(run, sizes)
    samples = run.training.steps * run.training.batch_size
    return {"train": Work(4 * parameters, samples, sizes.rates.train_samples_per_s)}


def picture(run: Run, sizes: Sizes) -> Picture:
    """Sampled at the rate of the configuration."""
    px = sizes.generators[run.generator].image_px
    return Picture(px, 1 / sizes.rates.reconstruct_images_per_s)


def trained_parameters(run: Run, sizes: Sizes) -> int:
    """Numbers in a model's file, counted from the networks themselves, without their weights."""
    import torch

    from boldvision.decoders.dynadiff.brain_module import BrainModule

    generator = sizes.generators[run.generator]
    with torch.device("meta"):
        brain_module = BrainModule(
            sizes.voxels, sizes.n_tr, generator.tokens, generator.width, run.brain_module
        )
    learned = run.training.unconditional == "learned"
    return (
        sum(parameter.numel() for parameter in brain_module.parameters())
        + learned * generator.tokens * generator.width
        + _trained_of_unet(generator, run.finetune, run.lora)
    )


@cache
def _trained_of_unet(generator: Generator, what: Any, lora: Lora) -> int:
    import torch
    from diffusers import UNet2DConditionModel

    from boldvision.decoders.dynadiff.model import finetune
    from boldvision.generators.base import full_size_unet_config

    sizes = (
        UNet2DConditionModel.load_config(
            Path(shipped(generator.folder)) / "image_unet", local_files_only=True
        )
        if generator.kind == "tiny"
        else full_size_unet_config()
    )
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(sizes).requires_grad_(False)
        finetune(unet, what, lora)
    return sum(p.numel() for p in unet.parameters() if p.requires_grad)
