"""Which steps of the diffusion a model is trained on."""

from __future__ import annotations

import torch


def draw_timesteps(uniform: torch.Tensor, kind: str, n: int) -> torch.Tensor:
    """Timesteps 0 … n-1 from uniform numbers in [0, 1).

    ``cubic`` is t = (1 - u^3) n, which prefers noisy latents (paper: "bicubic sampling").
    """
    share = 1 - uniform**3 if kind == "cubic" else uniform
    return (share * n).long().clamp(max=n - 1)
