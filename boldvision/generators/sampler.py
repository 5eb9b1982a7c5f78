"""DDIM sampling with classifier-free guidance, one random stream per trial."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from boldvision.errors import UserError
from boldvision.generators.base import Generator
from boldvision.seeds import derive


def initial_noise(shape: tuple[int, ...], seed: int, keys: Sequence[int]) -> torch.Tensor:
    """Noise [len(keys), *shape]; a key's noise does not depend on its companions."""
    noise = [
        torch.randn(shape, generator=torch.Generator().manual_seed(derive(seed, "sample", key)))
        for key in keys
    ]
    return torch.stack(noise)


@torch.no_grad()
def sample(
    generator: Generator,
    condition: torch.Tensor,
    unconditional: torch.Tensor,
    noise: torch.Tensor,
    steps: int,
    guidance_scale: float,
) -> torch.Tensor:
    """Pictures for condition tokens (Song et al. 2021, eta 0; Ho & Salimans 2022).

    Parameters
    ----------
    generator : Generator
    condition : Tensor, [N, tokens, width]
    unconditional : Tensor, [tokens, width]
        What the model saw when the condition was dropped in training.
    noise : Tensor, [N, channels, height, width]
    steps : int
        DDIM steps; 20 in the paper.
    guidance_scale : float
        ``u + scale * (c - u)``; 3 in the paper.

    Returns
    -------
    Tensor, [N, 3, px, px]
        Roughly in [-1, 1].

    Raises
    ------
    UserError
        A latent is not finite.
    """
    scheduler = generator.scheduler
    scheduler.set_timesteps(steps)
    tokens = torch.cat([unconditional.expand_as(condition), condition])
    latents = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        predicted = generator.unet(
            torch.cat([latents, latents]), t, encoder_hidden_states=tokens
        ).sample
        without, given = predicted.float().chunk(2)  # their difference is small
        epsilon = without + guidance_scale * (given - without)
        latents = scheduler.step(epsilon, t, latents).prev_sample
    if not torch.isfinite(latents).all():
        raise UserError(
            f"sampling: expected finite latents after {steps} steps, found NaN or infinity. Set "
            "`reconstruction.precision` of the run to bf16 or no; if it is, look at the losses in "
            "training.json of the model, and train it anew."
        )
    return generator.vae.decode(latents / generator.vae.config.scaling_factor).sample
