"""Train the tiny generator: a VAE, then a U-Net conditioned on tokens of the picture's latent.

It learns from scenes that no miniature dataset shows. The tokens are a linear map of the latent at
each place plus a code of the place: what a brain module will have to predict.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_model
from torch import nn

from boldvision import config
from boldvision.cli import settings_from
from boldvision.datasets.miniature.scenes import SCENE_SEED, render_all
from boldvision.files import replace_folder
from boldvision.generators.images import to_tensor
from boldvision.generators.properties import NOISE_SCHEDULE
from boldvision.generators.timesteps import draw_timesteps
from boldvision.networks.pretraining import descend, require_finite

BATCH = 48


class ConditionEncoder(nn.Module):
    """Latents [B, C, h, w] to condition tokens [B, h * w, width]."""

    def __init__(self, channels: int, tokens: int, width: int):
        super().__init__()
        self.content = nn.Linear(channels, width)
        self.place = nn.Parameter(torch.randn(tokens, width))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """One token per place of the latent, in rows."""
        return self.content(latents.flatten(2).transpose(1, 2)) + self.place


def new_vae(px: int) -> AutoencoderKL:
    """A KL-f8 autoencoder with the parts of Stable Diffusion's, at small widths."""
    widths = (8, 16, 32, 64)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=px,
        mid_block_add_attention=False,
    )


def new_unet(latent_px: int, width: int) -> UNet2DConditionModel:
    """An image U-Net with the parts of Versatile Diffusion's, at small widths."""
    return UNet2DConditionModel(
        sample_size=latent_px,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def new_scheduler() -> DDIMScheduler:
    """The noise schedule of Stable and Versatile Diffusion."""
    return DDIMScheduler(**NOISE_SCHEDULE)


def train_vae(vae: AutoencoderKL, pictures: torch.Tensor, steps: int, seed: int) -> None:
    """Absolute plus squared error and a small Kullback-Leibler term."""
    for picture in _batches(vae.parameters(), pictures, steps, seed, peak=3e-3):
        posterior = vae.encode(picture).latent_dist
        error = vae.decode(posterior.sample()).sample - picture
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        (error.abs().mean() + error.square().mean() + 1e-3 * divergence).backward()
    with torch.no_grad():
        spread = vae.encode(pictures[:1000]).latent_dist.mean.std().item()
    vae.register_to_config(scaling_factor=1 / spread)


def train_unet(
    unet: UNet2DConditionModel,
    encoder: ConditionEncoder,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    steps: int,
    seed: int,
) -> None:
    """Predict the noise in scaled `latents` given tokens, dropped in one sample of ten."""
    parameters = [*unet.parameters(), *encoder.parameters()]
    n = scheduler.config.num_train_timesteps
    for clean in _batches(parameters, latents, steps, seed, peak=2e-3):
        t = training_timesteps(len(clean), n)
        noise = torch.randn_like(clean) + 0.1 * torch.randn(len(clean), clean.shape[1], 1, 1)
        tokens = encoder(clean + 0.2 * torch.randn_like(clean))
        tokens = tokens * (torch.rand(len(clean), 1, 1) >= 0.1)
        noisy = scheduler.add_noise(clean, noise, t)
        predicted = unet(noisy, t, encoder_hidden_states=tokens).sample
        (predicted - noise).square().mean().backward()


def training_timesteps(size: int, n: int) -> torch.Tensor:
    """Timesteps [size] of 0 … n-1: noisy ones preferred in half of the samples."""
    uniform = torch.rand(size)
    return torch.where(
        torch.rand(size) < 0.5,
        draw_timesteps(uniform, "cubic", n),
        draw_timesteps(uniform, "uniform", n),
    )


def _batches(parameters, data: torch.Tensor, steps: int, seed: int, peak: float) -> Iterator:
    """Yield batches; after each backward pass of the caller, a step is taken."""
    torch.manual_seed(seed)
    for _ in descend(parameters, steps, peak):
        yield data[torch.randint(len(data), (BATCH,))]


def pretrain(
    settings: config.Generator, scenes: int, vae_steps: int, unet_steps: int, seed: int, out: Path
) -> None:
    """Train both networks and write them to folder `out` in float16, as they ship.

    Raises
    ------
    UserError
        The optimization diverged.
    """
    torch.manual_seed(seed)
    pictures = to_tensor(render_all(SCENE_SEED, scenes, settings.image_px), settings.image_px)
    vae = new_vae(settings.image_px)
    train_vae(vae, pictures, vae_steps, seed)
    with torch.no_grad():
        latents = torch.cat([vae.encode(batch).latent_dist.mean for batch in pictures.split(500)])
    unet = new_unet(latents.shape[-1], settings.width)
    encoder = ConditionEncoder(latents.shape[1], settings.tokens, settings.width)
    scheduler = new_scheduler()
    train_unet(unet, encoder, scheduler, latents * vae.config.scaling_factor, unet_steps, seed)
    for network in (vae, unet, encoder):
        require_finite(network.half().state_dict())
    part = out.with_name(f"{out.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    vae.save_pretrained(part / "vae")
    unet.save_pretrained(part / "image_unet")
    scheduler.save_pretrained(part / "scheduler")
    save_model(encoder, str(part / "condition_encoder.safetensors"))
    replace_folder(part, out)


def main(argv: list[str]) -> None:
    """Stage `pretrain`."""
    parser = argparse.ArgumentParser(prog="boldvision pretrain", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the generator's configuration")
    parser.add_argument("--scenes", type=int, default=20_000)
    parser.add_argument("--vae-steps", type=int, default=5_000)
    parser.add_argument("--unet-steps", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=0)
    dual = parser.add_argument_group("of a dual generator")
    dual.add_argument("--clip", help="JSON: the configuration of the tiny CLIP")
    dual.add_argument("--start", type=Path, help="folder of the tiny generator, as it begins")
    dual.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--out", type=Path, required=True)
    arguments = vars(parser.parse_args(argv))
    settings = config.Generator(**settings_from(arguments.pop("settings")))
    clip, start, batch_size = (arguments.pop(name) for name in ("clip", "start", "batch_size"))
    if settings.kind == "tiny_dual":
        from boldvision.generators.pretrain_dual import pretrain_dual
        from boldvision.networks.clip.settings import Network

        del arguments["vae_steps"]
        network = Network(**settings_from(clip))
        pretrain_dual(settings, network, start, batch_size=batch_size, **arguments)
    else:
        pretrain(settings, **arguments)
