"""Pictures from pictures: noise is added to a latent, and a guided diffusion takes it away again.

As Brain-Diffuser does it, by DDIM, and MindEye1, by UniPC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from boldvision.errors import UserError
from boldvision.generators.constant import constant_tokens
from boldvision.generators.sampler import Predict, guided, require_finite
from boldvision.seeds import derive

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UniPCMultistepScheduler

    from boldvision.generators.base import Generator
    from boldvision.generators.dual import DualGenerator

PIXELS = 4 * 512 * 512
"""Of pictures that are encoded together, as many as `decode.PLACES` are."""


@torch.no_grad()
def encode(
    vae: AutoencoderKL, pictures: torch.Tensor, seed: int, keys: Sequence[int]
) -> torch.Tensor:
    """Latents [N, channels, height, width] of pictures, drawn from the VAE's posterior.

    Parameters
    ----------
    vae : AutoencoderKL
    pictures : Tensor, [N, 3, px, px]
        In [-1, 1].
    seed : int
    keys : sequence of int
        One per picture: what is drawn for it does not depend on its companions.
    """
    some = pictures.split(max(1, PIXELS // pictures[0, 0].numel()))
    posteriors = [vae.encode(part).latent_dist for part in some]
    mean, std = (torch.cat([getattr(p, name) for p in posteriors]) for name in ("mean", "std"))
    drawn = [
        torch.randn(one.shape, generator=torch.Generator().manual_seed(derive(seed, "encode", k)))
        for one, k in zip(mean, keys, strict=True)
    ]
    return mean + std * torch.stack(drawn).to(mean)


@torch.no_grad()
def ddim(
    generator: Generator | DualGenerator,
    predict: Predict,
    start: torch.Tensor,
    noise: torch.Tensor,
    steps: int,
    strength: float,
    guidance_scale: float,
) -> torch.Tensor:
    """The latter steps of DDIM, eta 0, from a picture with noise (Brain-Diffuser).

    Of 50 steps at timesteps 1, 21, …, 981 and a strength of 0.75, 37 are taken. As released, noise
    is added for the timestep of the step before the first one, 741, not for its own, 721.

    Parameters
    ----------
    generator : Generator or DualGenerator
    predict : :data:`boldvision.generators.sampler.Predict`
    start : Tensor, [N, channels, height, width]
        As the VAE encodes: without its scaling factor.
    noise : Tensor, [N, channels, height, width]
    steps : int
    strength : float
        Share of the steps that are taken, rounded down.
    guidance_scale : float
        ``u + scale * (c - u)``.

    Returns
    -------
    Tensor, [N, channels, height, width]
        As the VAE encodes.

    Raises
    ------
    UserError
        None of the steps would be taken, or all, or a latent is not finite.
    """
    taken = int(strength * steps)
    if not 0 < taken < steps:
        raise UserError(
            f"sampling: strength {strength:g} of {steps} steps is {taken}; expected at least one, "
            "and fewer than all. Correct `strength` or `steps`."
        )
    scheduler: DDIMScheduler = generator.scheduler
    scheduler.set_timesteps(steps)
    noised, *timesteps = scheduler.timesteps[-taken - 1 :]
    scale = generator.vae.config.scaling_factor
    latents = scheduler.add_noise(start * scale, noise, noised)
    return _denoised(generator, predict, scheduler, timesteps, latents, guidance_scale) / scale


@torch.no_grad()
def unipc(
    generator: Generator | DualGenerator,
    predict: Predict,
    start: torch.Tensor | None,
    noise: torch.Tensor,
    steps: int,
    strength: float,
    guidance_scale: float,
) -> torch.Tensor:
    """UniPC (Zhao et al. 2023; order 2, bh2), from noise or from a picture with noise (MindEye1).

    Of 20 steps at timesteps 999, 949, …, 50 and a strength of 0.85, the last 17 are taken, and
    noise is added for the first of them, 849. The last step ends at timestep 0, as in the diffusers
    of the released code; current ones end without noise if not told otherwise.

    Parameters
    ----------
    start : Tensor, [N, channels, height, width], or None
        As the VAE encodes: without its scaling factor; None: all steps are taken from `noise`.
    generator, predict, noise, steps, strength, guidance_scale
        See :func:`ddim`.

    Returns
    -------
    Tensor, [N, channels, height, width]
        As the VAE encodes.

    Raises
    ------
    UserError
        None of the steps would be taken, or a latent is not finite.
    """
    taken = steps if start is None else min(int(strength * steps), steps)
    if taken == 0:
        raise UserError(
            f"sampling: strength {strength:g} of {steps} steps is none. Raise one of them."
        )
    scheduler = _unipc(generator.scheduler)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(steps - taken)
    timesteps = scheduler.timesteps[steps - taken :]
    scale = generator.vae.config.scaling_factor
    latents = noise
    if start is not None:
        latents = generator.scheduler.add_noise(start * scale, noise, timesteps[0])
    return _denoised(generator, predict, scheduler, timesteps, latents, guidance_scale) / scale


def _denoised(
    generator: Generator | DualGenerator,
    predict: Predict,
    scheduler: DDIMScheduler | UniPCMultistepScheduler,
    timesteps: Sequence[torch.Tensor],
    latents: torch.Tensor,
    guidance_scale: float,
) -> torch.Tensor:
    with constant_tokens(generator.unet):
        for t in timesteps:
            epsilon = guided(predict, latents, t, guidance_scale)
            latents = scheduler.step(epsilon, t, latents).prev_sample
    require_finite(latents, len(timesteps))
    return latents


def _unipc(scheduler: DDIMScheduler) -> UniPCMultistepScheduler:
    """UniPC on the same noise schedule, with the options that diffusers 0.13 had no other of."""
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler.from_config(
        scheduler.config,
        solver_order=2,
        solver_type="bh2",
        predict_x0=True,
        lower_order_final=True,
        timestep_spacing="linspace",
        final_sigmas_type="sigma_min",
    )
