"""MindEye1's diffusion prior: from tokens of a window to CLIP tokens of the image.

The transformer of DALL-E 2's prior as dalle2-pytorch has it, but for all tokens of an image at
once and without a causal mask, and a diffusion of 100 steps, which samples go back one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from boldvision.decoders.mindeye1.settings import Prior as Settings

BUCKETS, EXACT, FARTHEST = 32, 16, 128
"""Distances of tokens with a bias of their own, those that are told apart, and the last."""

SCALE = 16
"""Of the cosine of query and key."""

ROTATED, THETA = 32, 10_000
"""Channels of a head that are rotated by position, and the slowest rotation's period."""


class LayerNorm(nn.Module):
    """Layer norm with a gain alone; in half precision it adds more to the variance.

    Parameters
    ----------
    width : int
    stable : bool
        Divide by the largest value before.
    """

    def __init__(self, width: int, stable: bool = False):
        super().__init__()
        self.gain, self.stable = nn.Parameter(torch.ones(width)), stable

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of the same shape."""
        least = 1e-5 if x.dtype == torch.float32 else 1e-3
        if self.stable:
            x = x / x.amax(-1, keepdim=True).detach()
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) * (variance + least).rsqrt() * self.gain


class Attention(nn.Module):
    """Attention by cosines, with one head of keys and values and a learned key and value more."""

    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * head_width, bias=False)
        self.null_kv = nn.Parameter(torch.randn(2, head_width))
        self.to_out = nn.Sequential(
            nn.Linear(heads * head_width, width, bias=False), LayerNorm(width)
        )

    def forward(
        self, x: torch.Tensor, distance_bias: torch.Tensor, angles: torch.Tensor
    ) -> torch.Tensor:
        """Of tokens [B, n, width], with a bias [heads, n, n + 1] and angles [n, rotated]."""
        x = self.norm(x)
        query = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.to_kv(x).chunk(2, dim=-1)
        query, key = rotate(query, angles), rotate(key, angles)
        null_key, null_value = self.null_kv[:, None, None].expand(-1, len(x), 1, -1)
        key, value = torch.cat([null_key, key], 1), torch.cat([null_value, value], 1)
        query, key = (F.normalize(each, dim=-1) * math.sqrt(SCALE) for each in (query, key))
        likeness = query @ key[:, None].transpose(-1, -2) + distance_bias
        weights = likeness.softmax(-1, dtype=torch.float32).type(likeness.dtype)
        mixed = weights @ value[:, None]
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU between two linear layers."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = LayerNorm(width)
        self.rise = nn.Linear(width, 8 * width, bias=False)
        self.fall = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of the same shape."""
        x, gate = self.rise(self.norm(x)).chunk(2, dim=-1)
        return self.fall(x * F.silu(gate))


class Layer(nn.Module):
    """Attention and feed-forward, both residual."""

    def __init__(self, width: int, settings: Settings):
        super().__init__()
        self.attention = Attention(width, settings.heads, settings.head_width)
        self.feed_forward = FeedForward(width)

    def forward(self, x, distance_bias, angles):
        """See :class:`Attention`."""
        x = x + self.attention(x, distance_bias, angles)
        return x + self.feed_forward(x)


class PriorNetwork(nn.Module):
    """Noisy tokens of an image and those of a window, to the image's tokens without noise.

    Parameters
    ----------
    tokens, width : int
    settings : Settings

    Notes
    -----
    56,055,184 parameters as published, 16 of which are the rotations' frequencies and fixed.
    """

    def __init__(self, tokens: int, width: int, settings: Settings):
        super().__init__()
        self.tokens, self.width = tokens, width
        self.time_mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(),
            nn.Linear(2 * width, 2 * width), nn.SiLU(),
            nn.Linear(2 * width, width),
        )  # fmt: skip
        self.learned_query = nn.Parameter(torch.randn(tokens, width) / math.sqrt(width))
        self.null_brain = nn.Parameter(torch.randn(tokens, width))
        self.null_image = nn.Parameter(torch.randn(tokens, width))
        self.distance_bias = nn.Embedding(BUCKETS, settings.heads)
        rotated = min(ROTATED, settings.head_width)
        frequencies = THETA ** -(torch.arange(0, rotated, 2) / rotated)
        self.frequencies = nn.Parameter(frequencies, requires_grad=False)
        self.layers = nn.ModuleList(Layer(width, settings) for _ in range(settings.depth))
        self.norm = LayerNorm(width, stable=True)
        self.project_out = nn.Linear(width, width, bias=False)
        self.through = _directly

    def forward(
        self, noisy: torch.Tensor, time: torch.Tensor, brain: torch.Tensor, dropped: torch.Tensor
    ) -> torch.Tensor:
        """Tokens [B, tokens, width]; `dropped` as in :class:`.network.MindEye`."""
        brain = torch.where(dropped[:, :1, None], self.null_brain.to(brain.dtype), brain)
        noisy = torch.where(dropped[:, 1:, None], self.null_image.to(noisy.dtype), noisy)
        moment = self.time_mlp(sinusoids(time, self.width))[:, None]
        x = torch.cat([brain, moment, noisy + self.learned_query], 1)
        n = x.shape[1]
        distance_bias = self.distance_bias(distance_buckets(n, x.device)).permute(2, 0, 1)
        angles = torch.outer(torch.arange(n, device=x.device), self.frequencies)
        angles = angles.repeat_interleave(2, dim=-1)
        for layer in self.layers:
            x = self.through(layer, x, distance_bias, angles)
        return self.project_out(self.norm(x))[:, -self.tokens :]


class Diffusion:
    """The diffusion of image tokens: what noise is added, and how samples are drawn.

    Tokens are multiplied by the root of their width before noise is added.

    Parameters
    ----------
    steps, width : int
    """

    def __init__(self, steps: int, width: int):
        self.steps, self.scale = steps, math.sqrt(width)
        self.of_step = {name: value.float() for name, value in cosine_schedule(steps).items()}

    def add_noise(
        self, clean: torch.Tensor, noise: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """Scaled tokens [B, tokens, width] with as much noise as they have at `time` [B]."""
        kept = self.of_step["kept"].to(time.device)[time][:, None, None]
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    @torch.no_grad()
    def sample(
        self, network: PriorNetwork, brain: torch.Tensor, streams: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Image tokens, as large as CLIP's, for tokens of windows, both [B, tokens, width].

        All that is random in a row is drawn from its own stream, on the CPU.
        """
        whole = torch.zeros(len(brain), 2, dtype=torch.bool, device=brain.device)
        x = _normal(streams, brain)
        for t in reversed(range(self.steps)):
            of_clean, of_noisy, deviation = (
                self.of_step[name][t].item() for name in ("of_clean", "of_noisy", "deviation")
            )
            time = torch.full((len(brain),), t, device=brain.device)
            x = of_clean * network(x, time, brain, whole) + of_noisy * x
            if t:
                x = x + deviation * _normal(streams, brain)
        return x / self.scale


def cosine_schedule(steps: int) -> dict[str, torch.Tensor]:
    """Of each step, float64: share of the signal that is kept, and weights of ancestral sampling.

    `of_clean` and `of_noisy` are the weights of predicted and present tokens in the next mean, and
    `deviation` that of the noise which is added to it.
    """
    x = torch.linspace(0, steps, steps + 1, dtype=torch.float64) / steps
    curve = ((x + 0.008) / 1.008 * math.pi / 2).cos().square()
    betas = (1 - curve[1:] / curve[:-1]).clamp(0, 0.999)
    kept = (1 - betas).cumprod(0)
    before = F.pad(kept[:-1], (1, 0), value=1.0)
    variance = betas * (1 - before) / (1 - kept)
    return {
        "kept": kept,
        "of_clean": betas * before.sqrt() / (1 - kept),
        "of_noisy": (1 - before) * (1 - betas).sqrt() / (1 - kept),
        "deviation": variance.clamp(min=1e-20).sqrt(),
    }


def sinusoids(time: torch.Tensor, width: int) -> torch.Tensor:
    """Sines, then cosines of steps [B], float32 [B, width]."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=time.device) * -(math.log(10_000) / (half - 1)))
    phases = time.float()[:, None] * rates
    return torch.cat([phases.sin(), phases.cos()], dim=-1)


def distance_buckets(n: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """How far keys [n + 1], the learned one first, lie before queries [n]: int64 [n, n + 1]."""
    keys = torch.arange(n + 1, device=device)
    distance = (keys[:n, None] - keys).clamp(min=0)
    steps = torch.log(distance.clamp(min=1) / EXACT) / math.log(FARTHEST / EXACT)
    far = EXACT + (steps * (BUCKETS - EXACT)).long()
    return torch.where(distance < EXACT, distance, far.clamp(max=BUCKETS - 1))


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate neighbouring channels of [..., n, d], the first ones, by angles [n, rotated]."""
    angles, n = angles.to(x.dtype), angles.shape[-1]
    turned, rest = x[..., :n], x[..., n:]
    across = torch.stack([-turned[..., 1::2], turned[..., ::2]], dim=-1).flatten(-2)
    return torch.cat([turned * angles.cos() + across * angles.sin(), rest], dim=-1)


def _normal(streams: Sequence[torch.Generator], like: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.randn(like.shape[1:], generator=s) for s in streams]).to(like)


def _directly(part, *inputs):
    return part(*inputs)
