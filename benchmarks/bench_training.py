"""A training step with cached latents against one that encodes its images, in this process.

    python benchmarks/bench_training.py [OUT.json]

prints and writes (to benchmarks/training.json) seconds of both with the tiny generator and their
ratio, and the operations of a step at the size of the paper, counted on the meta device (2 per
multiply-add, 1 image): there is no arithmetic in that, only shapes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from goals import Goal, report

from boldvision import config
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.settings import BrainModule, Run, Training
from boldvision.device import best_device
from boldvision.flop import teraflop
from boldvision.generators.base import (
    Generator,
    full_size_unet_config,
    full_size_vae_config,
    load_generator,
)
from boldvision.generators.pretrain import new_scheduler

BATCH = 32
REPEATS = 20
TINY = config.Generator(
    kind="tiny",
    folder=str(Path(__file__).parents[1] / "boldvision" / "generators" / "tiny"),
    image_px=32,
    tokens=16,
    width=32,
)
FULL = config.Generator(
    kind="versatile_diffusion", folder="none", image_px=512, tokens=257, width=768
)
N_TR = 6


def dynadiff(generator: Generator, voxels: int, hidden: int) -> Dynadiff:
    """A Dynadiff of one subject."""
    run = Run(
        decoder="dynadiff",
        split="standard",
        preprocessing="nsd_prep",
        generator="tiny",
        latents="vae",
        brain_module=BrainModule(hidden=hidden),
        training=Training(learning_rate=1e-3),
    )
    return Dynadiff({"subject": voxels}, N_TR, generator, run)


def backpropagate(
    model: Dynadiff, scheduler, bold: torch.Tensor, latents: torch.Tensor, subject: str = "subject"
) -> None:
    """Gradients of the noise prediction error."""
    t = torch.randint(1000, (len(latents),), device=latents.device)
    noise = torch.randn_like(latents)
    noisy = scheduler.add_noise(latents, noise, t)
    dropped = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
    predicted = model([(subject, bold)], noisy, t, dropped)
    (predicted.float() - noise).square().mean().backward()


def step_seconds() -> dict[str, float]:
    """Seconds of a step of the tiny generator (best of alternating ones), and their ratio."""
    torch.manual_seed(0)
    device = best_device()
    generator = load_generator(TINY).to(device)
    model = dynadiff(generator, voxels=320, hidden=256).to(device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    bold = torch.randn(BATCH, N_TR, 320, device=device)
    pictures = torch.rand(BATCH, 3, 32, 32, device=device) * 2 - 1
    with torch.no_grad():
        posterior = generator.vae.encode(pictures).latent_dist
    scale = generator.vae.config.scaling_factor

    def update(latents: torch.Tensor) -> None:
        backpropagate(model, generator.scheduler, bold, latents * scale)
        optimizer.step()
        optimizer.zero_grad()

    def cached() -> None:
        update(posterior.mean + posterior.std * torch.randn_like(posterior.mean))

    @torch.no_grad()
    def encoded() -> torch.Tensor:
        return generator.vae.encode(pictures).latent_dist.sample()

    def seconds(step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    times = [(seconds(cached), seconds(lambda: update(encoded()))) for _ in range(REPEATS + 1)]
    ours, theirs = (min(column) for column in zip(*times[1:], strict=True))
    return {"cached_s": ours, "encoding_s": theirs, "time_ratio": ours / theirs}


def full_size_teraflop() -> dict[str, float]:
    """Operations at 512 px with Versatile Diffusion and the brain module of subj01, one image."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**full_size_unet_config()).requires_grad_(False)
        vae = AutoencoderKL(**full_size_vae_config()).requires_grad_(False)
        latents, tokens = torch.empty(1, 4, 64, 64), torch.empty(1, 257, 768)
        picture, t = torch.empty(1, 3, 512, 512), torch.zeros(1, dtype=torch.int64)
        counted = {
            "unet_forward": teraflop(lambda: unet(latents, t, encoder_hidden_states=tokens)),
            "vae_encode": teraflop(lambda: vae.encode(picture)),
            "vae_decode": teraflop(lambda: vae.decode(latents)),
        }
        model = dynadiff(Generator(FULL, unet, vae, new_scheduler()), voxels=15724, hidden=1552)
        bold = torch.empty(1, N_TR, 15724)
        counted["training_step"] = teraflop(
            lambda: backpropagate(model, new_scheduler(), bold, latents)
        )
    step, encode = counted["training_step"], counted["vae_encode"]
    return {**counted, "ratio": step / (step + encode)}


def main(out: Path) -> None:
    """Measure on one thread, print and write."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "tiny": step_seconds(),
        "full_size_teraflop_per_image": full_size_teraflop(),
    }
    for section, values in results.items():
        print(section, *(f"{name} {value:.4g}" for name, value in values.items()), sep="\n  ")
    goals = [
        Goal("time of a step with cached latents", results["tiny"]["time_ratio"], at_most=0.9),
        Goal(
            "operations of a step at full size with cached latents",
            results["full_size_teraflop_per_image"]["ratio"],
            at_most=0.65,
        ),
    ]
    results["goals"] = report(goals)
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("training.json"))
