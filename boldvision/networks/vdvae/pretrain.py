"""Train the tiny VDVAE by the evidence lower bound, on scenes that no miniature shows."""

from __future__ import annotations

from pathlib import Path

import torch

from boldvision.datasets.miniature.scenes import SCENE_SEED, render_all
from boldvision.device import best_device
from boldvision.networks.pretraining import descend, save_half
from boldvision.networks.vdvae.mixture import log_likelihood
from boldvision.networks.vdvae.network import CONFIG, WEIGHTS, Block, DecoderBlock, Drawn, Vdvae
from boldvision.networks.vdvae.sizes import Sizes

TINY = Sizes(
    image_px=32,
    width=64,
    middle=16,
    zdim=4,
    mixtures=4,
    encoder="32x1,32d2,16x1,16d2,8x1,8d2,4x1,4d4,1x1",
    decoder="1x1,4m1,4x2,8m4,8x3,16m8,16x1,32m16",
    latent_blocks=8,
)
"""The published layout for a few pixels; the latents up to 8 x 8 stand for a picture."""

FREE = 0.1
"""Nats; without them, latents of few pixels stay unused where those of many can say the same."""


def initialise(network: Vdvae) -> None:
    """Let each of many blocks change the map a little, and the prior begin as a standard normal."""
    share = len(network.decoder.dec_blocks) ** -0.5
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Block) and module.residual:
                module.c4.weight *= share
            if isinstance(module, DecoderBlock):
                module.z_proj.weight *= share
                for parameter in module.prior.c4.parameters():
                    parameter.zero_()


def divergence(drawn: Drawn) -> torch.Tensor:
    """Of posterior from prior (Kullback-Leibler), nats per latent, [N, zdim, R, R]."""
    spread = (2 * (drawn.log_std - drawn.prior_log_std)).exp()
    apart = (drawn.mean - drawn.prior_mean).square() * (-2 * drawn.prior_log_std).exp()
    return drawn.prior_log_std - drawn.log_std + (spread + apart - 1) / 2


def loss(network: Vdvae, pictures: torch.Tensor, free: float = 0.0) -> torch.Tensor:
    """Negative evidence lower bound, in nats per colour of a pixel.

    Parameters
    ----------
    network : Vdvae
    pictures : Tensor of uint8, [N, px, px, 3]
    free : float
        Nats that each latent which stands for a picture may say at no cost, on average over its
        block (free bits, Kingma et al., 2016).
    """
    sizes = network.sizes
    noise = [
        torch.randn(len(pictures), sizes.zdim, layer.side, layer.side, device=pictures.device)
        for layer in sizes.decoder_layers()
    ]
    last, drawn = network.posterior(pictures, noise)
    bound = -log_likelihood(network.decoder.mixture(last), pictures).sum()
    for index, block in enumerate(drawn):
        at_no_cost = free * block.latents.numel() if index < sizes.latent_blocks else 0.0
        bound = bound + divergence(block).sum().clamp(min=at_no_cost)
    return bound / pictures.numel()


def pretrain(
    out: Path,
    seed: int = 0,
    scenes: int = 10_000,
    steps: int = 1_200,
    batch_size: int = 16,
    sizes: Sizes = TINY,
) -> None:
    """Train the network and write it to folder `out` in float16, as it ships.

    Channels of colour are exchanged at random: scenes are as likely in all orders.

    Raises
    ------
    UserError
        The optimization diverged.
    """
    torch.manual_seed(seed)
    network = Vdvae(sizes)
    initialise(network)
    device = best_device()
    network.to(device).to(memory_format=torch.channels_last)
    pictures = torch.from_numpy(render_all(SCENE_SEED, scenes, sizes.image_px)).to(device)
    for _ in descend(network.parameters(), steps, peak=2e-3, weight_decay=0.01):
        chosen = pictures[torch.randint(len(pictures), (batch_size,), device=device)]
        loss(network, chosen[..., torch.randperm(3, device=device)], FREE).backward()
    (out / CONFIG).write_text(sizes.model_dump_json(indent=1) + "\n")
    save_half(network.state_dict(), out / WEIGHTS)
