"""What a Brain-Diffuser model costs: counted operations and bytes."""

from __future__ import annotations

from functools import cache
from statistics import mean

from boldvision.config import Generator
from boldvision.costs import Picture, Sizes, Work
from boldvision.decoders.brain_diffuser.predicted import KINDS
from boldvision.decoders.brain_diffuser.settings import Run
from boldvision.flop import teraflop
from boldvision.generators.sizes import meta_inputs, meta_unet, operations
from boldvision.networks.clip.settings import clip_among
from boldvision.networks.vdvae import settings as vdvae

REPETITIONS = 3
"""Trials of an image in NSD."""

DOUBLE = 16
"""Of half precision's speed on a card, what is left of it in float64: 312 to 19.5 on an A100."""


def training(run: Run, sizes: Sizes) -> dict[str, Work]:
    """The eigendecomposition and what it needs, in float64; eigenvectors are written."""
    images = sizes.trials // REPETITIONS
    n = images if run.ridge.examples == "image_means" else sizes.trials
    n_tr = sizes.n_tr if run.ridge.time == "flatten" else 1
    clip = clip_among(sizes.networks, run.clip)
    columns = (clip.image_tokens + clip.text_tokens) * clip.width + _vdvae(run, sizes).latents
    done = fitting(n, images, mean(sizes.voxels.values()) * n_tr, columns)
    return {"ridge": Work(8 * n**2, samples=1, teraflop=DOUBLE * sum(done.values()))}


def fitting(n: int, images: int, features: float, columns: int) -> dict[str, float]:
    """Operations of the regressions of `n` samples of `images` to `columns` in all, 10^12.

    Two per multiply-add. Those of the eigensolver are nine times n^3, about, with its vectors.
    """
    parts = {
        "gram": n**2 * features,
        "spectrum": 9 * n**3,
        "left_out": len(KINDS) * 2 * n * images * (n + images),
        "moments": 2 * images**2 * columns,
    }
    return {name: count / 1e12 for name, count in parts.items()}


def predicting(windows: int, n: int, images: int, features: float, columns: int) -> float:
    """Operations of the predictions of `windows`, 10^12."""
    shares = len(KINDS) * (n + images)
    return 2 * windows * (n * (features + shares) + images * columns) / 1e12


def picture(run: Run, sizes: Sizes) -> Picture:
    """Calls of the U-Net from where the first picture enters, with both conditions and without.

    The VDVAE makes that picture, the VAE encodes it and decodes the last. What is predicted of a
    window, less than a thousandth, is not counted.
    """
    generator, how = sizes.generators[run.generator], run.reconstruction
    calls, vae = 2 * int(how.strength * how.steps), operations(generator)
    once = _vdvae(run, sizes).decode_teraflop + vae.encode + vae.decode
    return Picture(generator.image_px, calls * _dual_unet(generator) + once)


def _vdvae(run: Run, sizes: Sizes) -> vdvae.Network:
    network = sizes.networks[run.vdvae]
    assert isinstance(network, vdvae.Network), network.kind
    return network


@cache
def _dual_unet(generator: Generator) -> float:
    """Of one call with both conditions, 10^12: half as much again as of an image U-Net."""
    import torch

    from boldvision.generators.dual import DualUNet, new_text_transformers

    inputs = meta_inputs(generator)
    with torch.device("meta"):
        image = meta_unet(generator)
        unet = DualUNet(image, new_text_transformers(image, generator.text_width or 1))
        text = torch.empty(1, generator.text_tokens or 1, generator.text_width or 1)
        return teraflop(lambda: unet(*inputs.values(), text, 0.5))
