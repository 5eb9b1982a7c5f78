"""MindEye1's map from a window to tokens of an image, and the contrastive head on these."""

from __future__ import annotations

import torch
from torch import nn

from boldvision.decoders.mindeye1.prior import PriorNetwork
from boldvision.decoders.mindeye1.settings import Brain, HighLevel


class BrainNetwork(nn.Module):
    """Residual perceptron on a flattened window, as released.

    Parameters
    ----------
    inputs : int
        Samples of a window times voxels; only the first layer depends on it.
    tokens, width : int
        Shape of an image's tokens: 257 x 768.
    settings : Brain

    Notes
    -----
    4096 x `inputs` + 883,174,400 parameters as published: 947,579,904 with betas of subj01 (15,724
    voxels), 1,269,607,424 with windows of 6 TRs.
    """

    def __init__(self, inputs: int, tokens: int, width: int, settings: Brain):
        super().__init__()
        hidden, wide = settings.hidden, settings.projector
        self.shape = (tokens, width)
        self.lin0 = _layer(inputs, hidden, settings.dropout)
        self.mlp = nn.ModuleList(
            _layer(hidden, hidden, settings.block_dropout) for _ in range(settings.blocks)
        )
        self.lin1 = nn.Linear(hidden, tokens * width)
        self.projector = nn.Sequential(
            nn.LayerNorm(width), nn.GELU(), nn.Linear(width, wide),
            nn.LayerNorm(wide), nn.GELU(), nn.Linear(wide, wide),
            nn.LayerNorm(wide), nn.GELU(), nn.Linear(wide, width),
        )  # fmt: skip

    def forward(self, bold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of windows [B, T, V]: tokens, and what is compared with the image's, [B, tokens, width].

        A window is flattened sample by sample.
        """
        x = self.lin0(bold.flatten(1))
        for layer in self.mlp:
            x = x + layer(x)
        tokens = self.lin1(x).unflatten(-1, self.shape)
        return tokens, self.projector(tokens)


class MindEye(nn.Module):
    """What the high level trains: the map to tokens, and the prior behind it."""

    def __init__(self, inputs: int, tokens: int, width: int, settings: HighLevel):
        super().__init__()
        self.brain = BrainNetwork(inputs, tokens, width, settings.brain)
        self.prior = PriorNetwork(tokens, width, settings.prior)

    def forward(
        self,
        bold: torch.Tensor,
        noisy: torch.Tensor,
        time: torch.Tensor,
        dropped: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What is compared, and the prior's image tokens without noise, both [B, tokens, width].

        Parameters
        ----------
        bold : Tensor, [B, T, V]
        noisy : Tensor, [B, tokens, width]
            Scaled image tokens with noise.
        time : Tensor of int64, [B]
        dropped : Tensor of bool, [B, 2]
            Whether the prior does without the window's tokens, and without the noisy ones.
        """
        tokens, compared = self.brain(bold)
        return compared, self.prior(noisy, time, tokens, dropped)

    def trained(self) -> dict[str, torch.Tensor]:
        """What a model file holds: every parameter that is trained, by name."""
        return {
            name: parameter.detach()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }


def _layer(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU(), nn.Dropout(dropout)
    )
