"""Dynadiff's brain module: BOLD windows to condition tokens (paper, section 2.2, Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from boldvision.decoders.dynadiff.settings import BrainModule as Settings
from boldvision.errors import UserError


class TimestepLinear(nn.Module):
    """One linear layer per time sample, or one shared by all of them."""

    def __init__(self, n_tr: int, width: int, shared: bool):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(1 if shared else n_tr))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, width] to [B, T, width]."""
        if len(self.layers) == 1:
            return self.layers[0](x)
        return torch.stack([layer(x[:, t]) for t, layer in enumerate(self.layers)], dim=1)


class BrainModule(nn.Module):
    """Windows of BOLD to condition tokens.

    Subject layer (no bias, shared over time), timestep layers, layer norm, GELU, dropout, linear
    aggregation of time, output layer. With several subjects, subject and timestep layers are their
    own and the rest is shared (paper, appendix E). Betas need neither timestep layers nor
    aggregation (paper, Table 4).

    Parameters
    ----------
    voxels : mapping of str to int
        Voxels of each subject.
    n_tr : int
        Samples of a window.
    tokens, width : int
        Shape of the condition: 257 x 768 for Versatile Diffusion.
    settings : Settings

    Raises
    ------
    UserError
        Time is not aggregated, and a window has more than one sample.

    Notes
    -----
    subj01 at full size (15,724 voxels, 6 TRs, 1,552 channels, 257 x 768 tokens): 345.4 M
    parameters; the paper says around 400 M.
    """

    def __init__(
        self,
        voxels: Mapping[str, int],
        n_tr: int,
        tokens: int,
        width: int,
        settings: Settings,
    ):
        super().__init__()
        if settings.aggregation == "none" and n_tr != 1:
            raise UserError(
                "brain_module.aggregation is none: expected windows of one sample, found "
                f"{n_tr}. Set it to out or in, or take a window with n_tr 1."
            )
        hidden = settings.hidden
        self.aggregation, self.shape = settings.aggregation, (tokens, width)
        timesteps = 1 if settings.aggregation == "in" else n_tr
        self.subject_layers = nn.ModuleDict(
            {subject: nn.Linear(n, hidden, bias=False) for subject, n in voxels.items()}
        )
        self.timestep_layers = nn.ModuleDict(
            {
                subject: nn.Identity()
                if settings.timestep_layers == "none"
                else TimestepLinear(timesteps, hidden, settings.timestep_layers == "shared")
                for subject in voxels
            }
        )
        self.block = nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(settings.dropout))
        if settings.aggregation != "none":
            self.merge_time = nn.Linear(n_tr, 1)
        self.output = nn.Linear(hidden, tokens * width)
        for subject, n in voxels.items():
            nn.init.normal_(self.subject_layers[subject].get_parameter("weight"), std=n**-0.5)

    def forward(self, groups: list[tuple[str, torch.Tensor]]) -> torch.Tensor:
        """Condition tokens [B, tokens, width] of windows grouped by subject, in that order.

        Parameters
        ----------
        groups : list of (str, Tensor [B_s, T, V_s])
        """
        x = torch.cat([self._subject(subject, bold) for subject, bold in groups])
        x = self.block(x)
        if self.aggregation == "out":
            x = self._aggregate(x)
        return self.output(x[:, 0]).unflatten(-1, self.shape)

    def _subject(self, subject: str, bold: torch.Tensor) -> torch.Tensor:
        x = self.subject_layers[subject](bold)
        if self.aggregation == "in":
            x = self._aggregate(x)
        return self.timestep_layers[subject](x)

    def _aggregate(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, hidden] to [B, 1, hidden]."""
        return self.merge_time(x.transpose(1, 2)).transpose(1, 2)
