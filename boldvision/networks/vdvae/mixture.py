"""Pixels as a mixture of discretised logistic distributions (Salimans et al., 2017).

Channels of a map: the logits of M components, then for each colour M means, M log-scales and M
coefficients of the colours before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

LEAST_LOG_SCALE = -7.0
MARGIN = 1e-5
"""How far uniform numbers stay from 0 and 1, whose logarithms are infinite."""


def channels(mixtures: int) -> int:
    """How many channels describe the colour of a pixel."""
    return 10 * mixtures


def sample(mixture: torch.Tensor, streams: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw pictures; each from random numbers of its own.

    Parameters
    ----------
    mixture : Tensor, [N, 10 M, H, W]
    streams : sequence of N generators of random numbers, on the CPU

    Returns
    -------
    Tensor of uint8, [N, H, W, 3]
    """
    logits, means, log_scales, coefficients = _parts(mixture)
    gumbel = -torch.log(-torch.log(_uniform(logits, streams)))
    chosen = (logits + gumbel).argmax(-1, keepdim=True)[..., None, :]  # [N, H, W, 1, 1]

    def of_chosen(values: torch.Tensor) -> torch.Tensor:
        return values.gather(-1, chosen.expand(*values.shape[:-1], 1)).squeeze(-1)

    mean, scale, c = of_chosen(means), of_chosen(log_scales).exp(), of_chosen(coefficients)
    u = _uniform(mean, streams)
    red, green, blue = (mean + scale * (u.log() - (1 - u).log())).unbind(-1)
    red = red.clamp(-1, 1)
    green = (green + c[..., 0] * red).clamp(-1, 1)
    blue = (blue + c[..., 1] * red + c[..., 2] * green).clamp(-1, 1)
    return ((torch.stack([red, green, blue], -1) + 1) * 127.5).byte()  # which cuts


def log_likelihood(mixture: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Of the 8-bit colours of every pixel, in nats.

    Parameters
    ----------
    mixture : Tensor, [N, 10 M, H, W]
    pictures : Tensor of uint8, [N, H, W, 3]

    Returns
    -------
    Tensor, [N, H, W]
    """
    logits, means, log_scales, c = _parts(mixture)
    x = (pictures.to(mixture.dtype) / 127.5 - 1)[..., None]
    red, green = x[..., 0, :], x[..., 1, :]
    before = torch.stack(
        [
            torch.zeros_like(logits),
            c[..., 0, :] * red,
            c[..., 1, :] * red + c[..., 2, :] * green,
        ],
        -2,
    )
    centred = x - means - before
    sharpness = (-log_scales).exp()
    upper, lower = sharpness * (centred + 1 / 255), sharpness * (centred - 1 / 255)
    inside = upper.sigmoid() - lower.sigmoid()
    middle = sharpness * centred
    density = middle - log_scales - 2 * functional.softplus(middle) - math.log(127.5)
    log_inside = torch.where(inside > MARGIN, inside.clamp(min=1e-12).log(), density)
    ends = torch.where(x > 0.999, -functional.softplus(lower), log_inside)
    log_colour = torch.where(x < -0.999, upper - functional.softplus(upper), ends)
    return (log_colour.sum(-2) + logits.log_softmax(-1)).logsumexp(-1)


def _parts(mixture: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Logits [N, H, W, M]; means, log-scales and coefficients [N, H, W, 3, M]."""
    n = mixture.shape[1] // 10
    mixture = mixture.permute(0, 2, 3, 1)
    logits, others = mixture[..., :n], mixture[..., n:].unflatten(-1, (3, 3 * n))
    means, log_scales, coefficients = others.split(n, -1)
    return logits, means, log_scales.clamp(min=LEAST_LOG_SCALE), coefficients.tanh()


def _uniform(like: torch.Tensor, streams: Sequence[torch.Generator]) -> torch.Tensor:
    drawn = torch.stack([torch.rand(like.shape[1:], generator=stream) for stream in streams])
    return (MARGIN + (1 - 2 * MARGIN) * drawn).to(like)
