"""Sampling with classifier-free guidance by DDIM or DDPM, one random stream per picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from boldvision.errors import UserError
from boldvision.generators.base import Generator
from boldvision.generators.constant import constant_tokens
from boldvision.seeds import derive

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DDPMScheduler

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of latents [2 N, channels, height, width] and a timestep, the noise: without a condition in the
first half, given one in the second."""


def initial_noise(
    shape: tuple[int, ...], seed: int, keys: Sequence[int], kind: str = "per_image"
) -> torch.Tensor:
    """Noise [len(keys), *shape] that sampling begins with.

    Of kind ``per_image``, a key's noise does not depend on its companions; of kind ``shared``, that
    of all keys is the same, as in the released code.
    """
    if kind == "shared":
        stream = torch.Generator().manual_seed(derive(seed, "shared sample"))
        return torch.randn(shape, generator=stream).expand(len(keys), *shape)
    noise = [
        torch.randn(shape, generator=torch.Generator().manual_seed(derive(seed, "sample", key)))
        for key in keys
    ]
    return torch.stack(noise)


def step_streams(seed: int, keys: Sequence[int]) -> list[torch.Generator]:
    """Of each key, the stream that the noise of its ancestral steps is drawn from."""
    return [torch.Generator().manual_seed(derive(seed, "sample step", key)) for key in keys]


@torch.no_grad()
def sample(
    generator: Generator,
    condition: torch.Tensor,
    unconditional: torch.Tensor,
    noise: torch.Tensor,
    steps: int,
    guidance_scale: float,
    streams: list[torch.Generator] | None = None,
) -> torch.Tensor:
    """Latents for condition tokens (Song et al. 2021, eta 0; Ho & Salimans 2022).

    Parameters
    ----------
    generator : Generator
    condition : Tensor, [N, tokens, width]
    unconditional : Tensor, [tokens, width]
        What the model saw when the condition was dropped in training.
    noise : Tensor, [N, channels, height, width]
    steps : int
        20 in the paper.
    guidance_scale : float
        ``u + scale * (c - u)``; 3 in the paper.
    streams : list of torch.Generator, optional
        One per picture, on the CPU: take ancestral steps (Ho et al. 2020, DDPM), whose noise is
        drawn from them, in place of DDIM's, which have none.

    Returns
    -------
    Tensor, [N, channels, height, width]
        As the VAE encodes: without its scaling factor.

    Raises
    ------
    UserError
        A latent is not finite.
    """
    scheduler = _ancestral(generator.scheduler) if streams else generator.scheduler
    scheduler.set_timesteps(steps)
    tokens = torch.cat([unconditional.expand_as(condition), condition])
    latents = noise * scheduler.init_noise_sigma

    def predict(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return generator.unet(noisy, t, encoder_hidden_states=tokens).sample

    with constant_tokens(generator.unet):
        for t in scheduler.timesteps:
            epsilon = guided(predict, latents, t, guidance_scale)
            latents = scheduler.step(epsilon, t, latents, generator=streams).prev_sample
    require_finite(latents, steps)
    return latents / generator.vae.config.scaling_factor


def guided(
    predict: Predict, latents: torch.Tensor, t: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """Noise in `latents` [N, ...], ``u + scale * (c - u)``, of one call with both."""
    without, given = predict(torch.cat([latents, latents]), t).float().chunk(2)
    return without + guidance_scale * (given - without)  # their difference is small


def require_finite(latents: torch.Tensor, steps: int) -> None:
    """Refuse sampled latents that are not finite.

    Raises
    ------
    UserError
        Says what to do.
    """
    if not torch.isfinite(latents).all():
        raise UserError(
            f"sampling: expected finite latents after {steps} steps, found NaN or infinity. Set "
            "`reconstruction.precision` of the run to bf16 or no; if it is, look at the losses in "
            "training.json of the model, and train it anew."
        )


def _ancestral(scheduler: DDIMScheduler) -> DDPMScheduler:
    """DDPM on the same noise schedule, as diffusers reads it from the same file."""
    from diffusers import DDPMScheduler

    return DDPMScheduler.from_config(scheduler.config)
