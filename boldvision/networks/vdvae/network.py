"""The autoencoder: encoder, decoder, and pictures to latents and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.networks.vdvae.mixture import channels, sample
from boldvision.networks.vdvae.settings import Network
from boldvision.networks.vdvae.sizes import Sizes

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MEAN, STD = 115.92961967, 69.37404
"""Of the pixels of ImageNet at 64 px, by which its input is centred and scaled."""

REMEDY = "remove its folder and run again to make it anew, or correct `networks.….folder`"

Draw = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Latents of a block, from its number, the map before it, and mean and log-std of the prior."""


@dataclass(frozen=True)
class Drawn:
    """Latents of a block, drawn from the posterior; each array [N, zdim, R, R]."""

    latents: torch.Tensor
    mean: torch.Tensor
    log_std: torch.Tensor
    prior_mean: torch.Tensor
    prior_log_std: torch.Tensor


class Block(nn.Module):
    """Four convolutions behind a GELU each; 3 x 3 in the middle where the map has room for it."""

    def __init__(self, width: int, middle: int, out: int, side: int, residual: bool = False):
        super().__init__()
        kernel = 3 if side > 2 else 1
        self.residual = residual
        self.c1 = nn.Conv2d(width, middle, 1)
        self.c2 = nn.Conv2d(middle, middle, kernel, padding=kernel // 2)
        self.c3 = nn.Conv2d(middle, middle, kernel, padding=kernel // 2)
        self.c4 = nn.Conv2d(middle, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, width, R, R] to [N, out, R, R]."""
        y = x
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            y = convolution(functional.gelu(y))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """From a picture to one map of every side."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.layers = sizes.encoder_layers()
        width, middle = sizes.width, sizes.middle
        self.in_conv = nn.Conv2d(3, width, 3, padding=1)
        self.enc_blocks = nn.ModuleList(
            Block(width, middle, width, layer.side, residual=True) for layer in self.layers
        )

    def forward(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """The last map [N, width, R, R] of each side R."""
        x = self.in_conv(x)
        last = {}
        for layer, block in zip(self.layers, self.enc_blocks, strict=True):
            x = block(x)
            if layer.pool > 1:
                x = functional.avg_pool2d(x, layer.pool)
            last[x.shape[-1]] = x
        return last


class DecoderBlock(nn.Module):
    """Prior and posterior of the latents at one depth, and what they change in the map."""

    def __init__(self, sizes: Sizes, side: int):
        super().__init__()
        width, middle, zdim = sizes.width, sizes.middle, sizes.zdim
        self.enc = Block(2 * width, middle, 2 * zdim, side)
        self.prior = Block(width, middle, 2 * zdim + width, side)
        self.z_proj = nn.Conv2d(zdim, width, 1)
        self.resnet = Block(width, middle, width, side, residual=True)

    def posterior(self, x: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-deviation, given the encoder's map of the same side."""
        mean, log_std = self.enc(torch.cat([x, seen], 1)).chunk(2, 1)
        return mean, log_std

    def forward(self, index: int, x: torch.Tensor, draw: Draw) -> torch.Tensor:
        """The map behind the block whose latents are drawn by `draw`."""
        zdim = self.z_proj.in_channels
        mean, log_std, change = self.prior(x).split([zdim, zdim, x.shape[1]], 1)
        latents = draw(index, x, mean, log_std)
        return self.resnet(x + change + self.z_proj(latents))


class OutNet(nn.Module):
    """The map at full side to the distribution of pixels."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.out_conv = nn.Conv2d(sizes.width, channels(sizes.mixtures), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, width, px, px] to [N, 10 M, px, px]."""
        return self.out_conv(x)


class Decoder(nn.Module):
    """From nothing but latents to the distribution of pixels, from coarse maps to fine ones."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.layers = sizes.decoder_layers()
        sides = sorted({layer.side for layer in self.layers})
        self.dec_blocks = nn.ModuleList(DecoderBlock(sizes, layer.side) for layer in self.layers)
        self.bias_xs = nn.ParameterList(torch.zeros(1, sizes.width, r, r) for r in sides)
        self.out_net = OutNet(sizes)
        self.gain = nn.Parameter(torch.ones(1, sizes.width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, sizes.width, 1, 1))

    def forward(self, n: int, draw: Draw, blocks: int | None = None) -> torch.Tensor:
        """The map [N, width, R, R] behind all blocks, or the first `blocks`."""
        maps = {bias.shape[-1]: bias.expand(n, -1, -1, -1) for bias in self.bias_xs}
        pairs = list(zip(self.layers, self.dec_blocks, strict=True))
        for index, (layer, block) in enumerate(pairs[:blocks]):
            side, source = layer.side, layer.source
            x = maps[side]
            if source is not None:
                x = x + functional.interpolate(maps[source], scale_factor=side // source)
            maps[side] = x = block(index, x, draw)
        return x

    def mixture(self, x: torch.Tensor) -> torch.Tensor:
        """The distribution of pixels, [N, 10 M, px, px], of the last map."""
        return self.out_net(x * self.gain + self.bias)


class Vdvae(nn.Module):
    """Encoder and decoder.

    Attributes
    ----------
    sizes : Sizes
    """

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)

    def posterior(
        self, pictures: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[Drawn]]:
        """Pass pictures through encoder and decoder.

        Parameters
        ----------
        pictures : Tensor of uint8, [N, px, px, 3]
        noise : sequence of Tensor, [N, zdim, R, R]
            Standard normal, of the first blocks of the decoder, or of all.

        Returns
        -------
        map : Tensor, [N, width, R, R]
            Behind the last of these blocks.
        drawn : list of Drawn
            Of each of these blocks.
        """
        drawn: list[Drawn] = []
        seen = self.encoder((pictures.permute(0, 3, 1, 2).float() - MEAN) / STD)

        def draw(index, x, prior_mean, prior_log_std):
            mean, log_std = self.decoder.dec_blocks[index].posterior(x, seen[x.shape[-1]])
            latents = mean + log_std.exp() * noise[index]
            drawn.append(Drawn(latents, mean, log_std, prior_mean, prior_log_std))
            return latents

        return self.decoder(len(pictures), draw, len(noise)), drawn

    @torch.no_grad()
    def encode(self, pictures: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Draw the latents that stand for pictures.

        Parameters
        ----------
        pictures : Tensor of uint8, [N, px, px, 3]
        noise : Tensor, [N, latents]
            Standard normal.

        Returns
        -------
        Tensor of float32, [N, latents]
            Of the first blocks, one after the other, each (C, H, W).
        """
        _, drawn = self.posterior(pictures, self.by_block(noise))
        return torch.cat([block.latents.flatten(1) for block in drawn], 1)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, streams: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw pictures given the latents of the first blocks; those of the others are drawn, too.

        Parameters
        ----------
        latents : Tensor, [N, latents]
        streams : sequence of N generators of random numbers, on the CPU
            One for each picture, which so depends on no other.

        Returns
        -------
        Tensor of uint8, [N, px, px, 3]

        Raises
        ------
        UserError
            The latents are of another number, or lead to NaN or infinity.
        """
        mixture = self.decoder.mixture(self.generate(self.by_block(latents), streams))
        if not torch.isfinite(mixture).all():
            raise UserError(
                "expected finite pictures, found NaN or infinity behind the VDVAE: its weights or "
                f"the latents are damaged; {REMEDY}"
            )
        return sample(mixture, streams)

    def generate(
        self, given: Sequence[torch.Tensor], streams: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """The decoder's last map, with the latents of the first blocks `given`."""

        def draw(index, x, prior_mean, prior_log_std):
            if index < len(given):
                return given[index]
            noise = [torch.randn(prior_mean.shape[1:], generator=stream) for stream in streams]
            return prior_mean + prior_log_std.exp() * torch.stack(noise).to(prior_mean)

        return self.decoder(len(streams), draw)

    def by_block(self, latents: torch.Tensor) -> list[torch.Tensor]:
        """Arrays [N, zdim, R, R] of the first blocks, from [N, latents].

        Raises
        ------
        UserError
            The latents are of another number.
        """
        shapes = self.sizes.latent_shapes()
        if latents.shape[1] != self.sizes.latents():
            raise UserError(
                f"expected {self.sizes.latents()} latents of a picture, found {latents.shape[1]}: "
                "they are of another VDVAE; make the target again"
            )
        parts = latents.split([prod(shape) for shape in shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def load(settings: Network) -> Vdvae:
    """Read the network from ``settings.folder``, frozen, in float32.

    Raises
    ------
    UserError
        A file is missing or damaged, or its parameters are not those that ``config.json`` asks for.
    """
    from safetensors.torch import load_file

    folder = Path(settings.folder)
    with reading(folder / CONFIG, "the sizes of a VDVAE", REMEDY):
        sizes = Sizes.model_validate(json.loads((folder / CONFIG).read_text()))
    if sizes.latents() != settings.latents:
        raise UserError(
            f"{folder / CONFIG}: expected sizes with {settings.latents} latents, found "
            f"{sizes.latents()}; correct `networks.….latents`, or {REMEDY}"
        )
    with torch.device("meta"):
        network = Vdvae(sizes)
    with reading(folder / WEIGHTS, "the parameters of a VDVAE", REMEDY):
        saved = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        network.load_state_dict(saved, assign=True)
    return network.requires_grad_(False).eval()
