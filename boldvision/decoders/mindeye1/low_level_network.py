"""MindEye1's map from a window to latents of a blurry picture, and to tokens of a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from diffusers.models.autoencoders.vae import Decoder
from torch import Tensor, nn

from boldvision.decoders.mindeye1.settings import LowLevel

SCALE = 0.18215
"""Of latents, in what the network predicts: that of Stable Diffusion, whichever autoencoder's."""

CHANNELS = 4
"""Of latents."""


class LowLevelNetwork(nn.Module):
    """Residual perceptron on a flattened window, and a decoder from its map to latents.

    Parameters
    ----------
    inputs : int
        Samples of a window times voxels; only the first layer depends on it.
    width : int
        Channels of the teacher's tokens.
    settings : LowLevel

    Notes
    -----
    206,065,604 parameters as published with betas of subj01, 528,093,124 with windows of 6 TRs.
    """

    def __init__(self, inputs: int, width: int, settings: LowLevel):
        super().__init__()
        hidden, channels, side = settings.hidden, settings.channels, settings.side
        self.shape = (channels, side, side)
        self.lin0 = _layer(inputs, hidden, settings.dropout)
        self.mlp = nn.ModuleList(
            _layer(hidden, hidden, settings.block_dropout) for _ in range(settings.blocks)
        )
        self.lin1 = nn.Linear(hidden, channels * side * side, bias=False)
        self.norm = nn.GroupNorm(1, channels)
        self.upsampler = _decoder(channels, settings.decoder_channels)
        self.through: Callable[[Tensor], Tensor] = self.upsampler.forward
        self.maps_projector = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(1, width), nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False), nn.GroupNorm(1, width), nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip

    def forward(self, bold: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents [B, 4, h, w] and tokens [B, side * side, width] of windows [B, T, V].

        A window is flattened sample by sample; the tokens are compared with the teacher's.
        """
        maps = self._maps(bold)
        tokens = self.maps_projector(maps).flatten(2).transpose(1, 2)
        return self.through(maps), tokens

    def latents(self, bold: Tensor) -> Tensor:
        """Latents [B, 4, h, w] as an autoencoder has them, without their scale."""
        return self.upsampler(self._maps(bold)) / SCALE

    def trained(self) -> dict[str, Tensor]:
        """What a model file holds: every parameter, by name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def _maps(self, bold: Tensor) -> Tensor:
        x = self.lin0(bold.flatten(1))
        for layer in self.mlp:
            x = x + layer(x)
        return self.norm(self.lin1(x).unflatten(-1, self.shape))


def _decoder(channels: int, widths: Sequence[int]) -> Decoder:
    """Each block but the last doubles the side of the map; a norm's group has two channels or more.

    As published it has 32 groups, two channels each in the narrowest block.
    """
    return Decoder(
        in_channels=channels,
        out_channels=CHANNELS,
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        norm_num_groups=math.gcd(32, *(width // 2 for width in widths)),
    )


def _layer(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, outputs, bias=False),
        nn.LayerNorm(outputs),
        nn.SiLU(),
        nn.Dropout(dropout),
    )
