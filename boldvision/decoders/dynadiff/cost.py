"""What a Dynadiff model costs, counted from its networks without their weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from statistics import mean
from typing import TYPE_CHECKING, Any

from boldvision.config import Generator
from boldvision.costs import Picture, Sizes, Work
from boldvision.decoders.dynadiff.settings import BrainModule, Lora, Run
from boldvision.flop import teraflop
from boldvision.generators.sizes import meta_inputs, meta_unet, operations

if TYPE_CHECKING:
    from torch.nn import Module


def training(run: Run, sizes: Sizes) -> dict[str, Work]:
    """Every sample passes through brain module and U-Net, and back; what is trained is written."""
    samples = run.training.steps * run.training.batch_size
    generator, twice = sizes.generators[run.generator], run.training.activation_checkpointing
    brain_module = mean(
        _brain_module_step(run.brain_module, voxels, sizes.n_tr, generator)
        for voxels in sizes.voxels.values()
    )
    work = brain_module + _unet_step(generator, run.finetune, run.lora, twice)
    return {"train": Work(4 * trained_parameters(run, sizes), samples, work)}


def picture(run: Run, sizes: Sizes) -> Picture:
    """The U-Net twice in each step, with the condition and without it, then the VAE's decoder.

    Keys and values of a condition are computed once, not in each step.
    """
    generator, steps = sizes.generators[run.generator], run.reconstruction.steps
    count = operations(generator)
    unet = 2 * (steps * count.unet - (steps - 1) * count.of_condition)
    return Picture(generator.image_px, unet + count.decode)


def trained_parameters(run: Run, sizes: Sizes) -> int:
    """Numbers in a model's file."""
    generator = sizes.generators[run.generator]
    learned = run.training.unconditional == "learned"
    brain_module = _brain_module(run.brain_module, sizes.voxels, sizes.n_tr, generator)
    return (
        sum(parameter.numel() for parameter in brain_module.parameters())
        + learned * generator.tokens * generator.width
        + _trained_of_unet(generator, run.finetune, run.lora)
    )


def _brain_module(
    settings: BrainModule, voxels: Mapping[str, int], n_tr: int, generator: Generator
) -> Module:
    import torch

    from boldvision.decoders.dynadiff import brain_module

    with torch.device("meta"):
        return brain_module.BrainModule(voxels, n_tr, generator.tokens, generator.width, settings)


@cache
def _brain_module_step(
    settings: BrainModule, voxels: int, n_tr: int, generator: Generator
) -> float:
    """Teraflop of a sample of a subject with so many voxels."""
    import torch

    module = _brain_module(settings, {"subject": voxels}, n_tr, generator)
    bold = torch.empty(1, n_tr, voxels, device="meta")
    return teraflop(lambda: module([("subject", bold)]).sum().backward())


@cache
def _unet_step(generator: Generator, what: Any, lora: Lora, twice: bool) -> float:
    """Teraflop of a sample; the gradient also goes to its condition."""
    import torch

    unet, inputs = unet_of(generator, what, lora), meta_inputs(generator)
    inputs["encoder_hidden_states"].requires_grad_()
    if twice:
        unet.train().enable_gradient_checkpointing()
    with torch.device("meta"):
        return teraflop(lambda: unet(**inputs).sample.sum().backward())


@cache
def _trained_of_unet(generator: Generator, what: Any, lora: Lora) -> int:
    parameters = unet_of(generator, what, lora).parameters()
    return sum(p.numel() for p in parameters if p.requires_grad)


def unet_of(generator: Generator, what: Any, lora: Any) -> Any:
    """The U-Net of a generator's size, with what is trained of it, without its weights."""
    import torch

    from boldvision.decoders.dynadiff.model import finetune

    unet = meta_unet(generator)
    with torch.device("meta"):
        finetune(unet, what, lora)
    return unet
