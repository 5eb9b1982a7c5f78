"""How fast a card is, at true shapes: each part returns what it found."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from bench_training import backpropagate
from on_gpu_study import RUN, SUBJECT, Study

from boldvision import costs
from boldvision.benchmark.stage import measure
from boldvision.benchmark.timing import calls_per_s, forget_memory, memory_gb, peak_teraflop_per_s
from boldvision.decoders.dynadiff.decoder import DynadiffDecoder
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.train import make_fast
from boldvision.device import fast_attention
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.images import to_uint8

WINDOW = "main"


def peak(study: Study) -> dict[str, Any]:
    """Products of large matrices."""
    return {"teraflop_per_s": peak_teraflop_per_s(study.seconds / 5)}


def step(study: Study) -> dict[str, Any]:
    """A training step as it is configured: compiled, which takes two minutes."""
    return _step(study)


def step_eager(study: Study) -> dict[str, Any]:
    """The same without `torch.compile`."""
    return _step(study, compile=False)


def step_checkpointing(study: Study) -> dict[str, Any]:
    """As `step_eager`, with activations computed twice; operations counted once."""
    return _step(study, compile=False, activation_checkpointing=True)


def step_channels_last(study: Study) -> dict[str, Any]:
    """As `step_eager`, with a U-Net whose convolutions go over channels last."""
    return _step(study, torch.channels_last, compile=False)


def sampling(study: Study) -> dict[str, Any]:
    """Pictures as configured, against the released loop: one image at a time, in float32."""
    run, window = study.large.config.run(RUN), study.large.config.window(WINDOW)
    settings, steps = study.large.config.generators[run.generator], run.reconstruction.steps
    plain = load_generator(settings).to(study.device)
    _float32(tensor_cores=False)
    slow = calls_per_s(lambda: _released(plain, steps), study.seconds)
    generator, model = _networks(study, {})
    decoder = DynadiffDecoder(model, generator.to(study.device), run, 0, study.device)
    batch, voxels = run.reconstruction.batch_size, study.large.config.subjects[SUBJECT].voxels
    bold = np.random.default_rng(0).standard_normal((batch, window.n_tr, voxels), np.float32)
    keys = list(range(batch))
    forget_memory()
    fast = calls_per_s(lambda: decoder.reconstruct(bold, SUBJECT, keys), study.seconds) * batch
    return {
        "pictures_per_s": fast,
        "released_pictures_per_s": slow,
        "ratio": fast / slow,
        "teraflop_per_s": fast * costs.picture(study.large, RUN).teraflop,
        "memory_gb": memory_gb(),
    }


def benchmark_gpu(study: Study) -> dict[str, Any]:
    """What `snakemake benchmark_gpu` measures: whole stages, with their data."""
    scratch = study.folder / "benchmark"
    scratch.mkdir()
    found = measure(study.large, scratch, study.seconds, 8 if study.small else 64)
    measured = [*found["targets"].values(), *found["decoders"].values(), found["scores"]]
    return found | {"holds": not any("failed" in part for part in measured)}


def _step(
    study: Study, layout: torch.memory_format = torch.contiguous_format, **training: Any
) -> dict[str, Any]:
    """A forward pass, one back and an update of one device's batch, which is on the card."""
    run = study.large.config.run(RUN)
    precision, batch = run.training.precision, run.training.device_batch_size
    forget_memory()
    generator, model = _networks(study, training)
    model.unet.to(memory_format=layout)
    voxels = study.large.config.subjects[SUBJECT].voxels
    shape = batch, study.large.config.window(WINDOW).n_tr, voxels
    bold = torch.randn(shape, device=study.device)
    latents = torch.randn(batch, *generator.latent_shape, device=study.device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=study.device == "cuda")

    def update() -> None:
        with torch.autocast(study.device, torch.bfloat16, enabled=precision == "bf16"):
            backpropagate(model, generator.scheduler, bold, latents, SUBJECT)
        optimizer.step()
        optimizer.zero_grad()

    _float32(tensor_cores=True)
    with fast_attention(study.device, precision):
        rate = batch * calls_per_s(update, study.seconds)
    work = costs.training(study.large, costs.Model(RUN, SUBJECT, WINDOW, 0))["train"]
    return {"samples_per_s": rate, "teraflop_per_s": rate * work.teraflop, "batch": batch,
            "precision": precision, "memory_gb": memory_gb()}  # fmt: skip


def _networks(study: Study, training: dict[str, Any]) -> tuple[Generator, Dynadiff]:
    """On the device, as stage `train` takes them."""
    config = study.large.config
    run = config.run(RUN)
    settings = run.training.model_copy(update=training)
    run = run.model_copy(update={"training": settings})
    generator = load_generator(config.generators[run.generator])
    voxels = {SUBJECT: config.subjects[SUBJECT].voxels}
    model = Dynadiff(voxels, config.window(WINDOW).n_tr, generator, run).to(study.device).train()
    make_fast(model, settings)
    return generator, model


def _float32(tensor_cores: bool) -> None:
    """How a card multiplies in float32: as stages do in half precision, or as torch by itself."""
    torch.set_float32_matmul_precision("high" if tensor_cores else "highest")
    torch.backends.cudnn.allow_tf32 = True


@torch.no_grad()
def _released(generator: Generator, steps: int) -> None:
    """One picture as the released code makes it, but without the text half of its U-Net."""
    device = generator.unet.device
    tokens = torch.zeros(2, generator.settings.tokens, generator.settings.width, device=device)
    latents = torch.randn(1, *generator.latent_shape, device=device)
    generator.scheduler.set_timesteps(steps)
    for t in generator.scheduler.timesteps:
        predicted = generator.unet(torch.cat([latents] * 2), t, encoder_hidden_states=tokens).sample
        without, given = predicted.chunk(2)
        noise = without + 3.5 * (given - without)
        latents = generator.scheduler.step(noise, t, latents).prev_sample
    to_uint8(generator.vae.decode(latents / generator.vae.config.scaling_factor).sample)
