"""What a MindEye1 model costs, counted from its networks without their weights."""

from __future__ import annotations

from functools import cache
from statistics import mean
from typing import TYPE_CHECKING, Any

from boldvision.costs import Picture, Sizes, Work
from boldvision.decoders.mindeye1.settings import HighLevel, LowLevel, Run, Training
from boldvision.flop import teraflop
from boldvision.generators.sizes import operations

if TYPE_CHECKING:
    import torch

REPETITIONS = 3
"""Trials of an image in NSD."""


def training(run: Run, sizes: Sizes) -> dict[str, Work]:
    """Every sample passes through a network, and back, and through the frozen one it is told by."""
    high, low = run.high_level, run.low_level
    n = sizes.trials if run.samples == "trials" else sizes.trials // REPETITIONS
    generator: Any = sizes.generators[run.generator]
    clip: Any = sizes.networks[run.clip]
    teacher: Any = sizes.networks[run.teacher]
    shape = generator.tokens, generator.width
    high_parts = [_high_level(v * sizes.n_tr, *shape, high) for v in sizes.voxels.values()]
    low_parts = [_low_level(v * sizes.n_tr, teacher.width, low) for v in sizes.voxels.values()]
    of_images = clip.image_teraflop if high.augment else 0.0
    return {
        "high_level": _work(high, n, high_parts, of_images),
        "low_level": _work(low, n, low_parts, 2 * _teacher(teacher)),
    }


def picture(run: Run, sizes: Sizes) -> Picture:
    """Of each candidate: the prior's chain, the U-Net with the condition and without, CLIP.

    What the first picture takes is counted once: the VAE decodes and encodes it. Of the map from
    the window, a thousandth, nothing is counted.
    """
    generator, how = sizes.generators[run.generator], run.reconstruction
    one, clip = operations(generator), sizes.networks[run.clip]
    prior = run.high_level.prior.steps * _prior_call(
        generator.tokens, generator.width, run.high_level
    )
    steps = int(how.strength * how.steps) if how.low_level else how.steps
    candidate = prior + 2 * steps * one.unet + one.decode
    if how.candidates > 1:
        candidate += clip.image_teraflop  # type: ignore[attr-defined]
    first = one.decode + one.encode if how.low_level else 0.0
    return Picture(generator.image_px, how.candidates * candidate + first)


def _work(
    settings: Training, samples: int, parts: list[tuple[int, float]], of_images: float
) -> Work:
    """Of a stage whose networks have these parameters, and take these operations of a sample."""
    from boldvision.decoders.mindeye1.samples import whole  # which imports torch

    shown = whole(settings, samples).steps * settings.batch_size
    parameters, operations_ = (mean(each) for each in zip(*parts, strict=True))
    return Work(4 * parameters, shown, operations_ + of_images)


@cache
def _high_level(inputs: int, tokens: int, width: int, settings: HighLevel) -> tuple[int, float]:
    """Parameters, and teraflop of a sample, forth and back."""
    import torch

    from boldvision.decoders.mindeye1.network import MindEye

    with torch.device("meta"):
        model = MindEye(inputs, tokens, width, settings)
        noisy, dropped = torch.empty(1, tokens, width), torch.zeros(1, 2, dtype=torch.bool)
        bold, time = torch.empty(1, 1, inputs), torch.zeros(1, dtype=torch.int64)
        done = teraflop(lambda: sum(model(bold, noisy, time, dropped)).sum().backward())
    return _count(model), done


@cache
def _prior_call(tokens: int, width: int, settings: HighLevel) -> float:
    import torch

    from boldvision.decoders.mindeye1.prior import PriorNetwork

    with torch.device("meta"), torch.no_grad():
        prior = PriorNetwork(tokens, width, settings.prior)
        noisy, brain = torch.empty(2, 1, tokens, width)
        time, dropped = torch.zeros(1), torch.zeros(1, 2, dtype=torch.bool)
        return teraflop(lambda: prior(noisy, time, brain, dropped))


@cache
def _low_level(inputs: int, width: int, settings: LowLevel) -> tuple[int, float]:
    """Parameters, and teraflop of a sample, forth and back."""
    import torch

    from boldvision.decoders.mindeye1.low_level_network import LowLevelNetwork

    with torch.device("meta"):
        model = LowLevelNetwork(inputs, width, settings)
        bold = torch.empty(1, 1, inputs)

        def step() -> None:
            latents, tokens = model(bold)
            (latents.sum() + tokens.sum()).backward()

        return _count(model), teraflop(step)


def _teacher(settings: Any) -> float:
    """Teraflop of a picture."""
    import torch

    from boldvision.networks.convnext.network import ConvNext

    with torch.device("meta"), torch.no_grad():
        network = ConvNext(settings)
        picture = torch.empty(1, 3, settings.image_px, settings.image_px)
        return teraflop(lambda: network.tokens(picture))


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
