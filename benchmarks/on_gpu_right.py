"""Whether a card computes what a CPU does: each part says what it found, and whether it holds."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from on_gpu_study import STAGE, Study, difference, ended, losses

from boldvision.shipped import ROOT
from boldvision.training.environment import PROCESSES

CURVE, HALF, TOGETHER = 5e-3, 2e-2, 1e-3
"""Largest relative differences of losses: to the CPU's, of bf16 to float32, of two processes."""

PATIENCE_S = 120


def curve(study: Study) -> dict[str, Any]:
    """Losses of 12 steps in float32, as on the CPU; convolutions without TensorFloat-32."""
    here, there = losses(study.train("straight")), losses(study.train_on_cpu("on_cpu"))
    return _close(here, there, CURVE)


def half_precision(study: Study) -> dict[str, Any]:
    """Losses with bf16, as with float32."""
    return _close(losses(study.train("bf16", precision="bf16")), losses(_straight(study)), HALF)


def resume(study: Study) -> dict[str, Any]:
    """A training that was stopped and goes on makes the model of one that was not.

    Some kernels of a card add in any order: two trainings that were not stopped may differ. Where
    these are equal, bit for bit, so must be the resumed one.
    """
    straight, again = _straight(study), study.train("again")
    stopped = study.folder / "stopped"
    with ended(study.start(stopped, checkpoint_every_s=0.0)) as (process,):
        _wait_for(lambda: list(stopped.rglob("step-*.pt")), process)
        process.terminate()
        process.wait(PATIENCE_S)
    resumed = study.train("stopped", checkpoint_every_s=0.0)
    record = json.loads((resumed / STAGE / "training.json").read_text())
    repeated, found = difference(straight, again), difference(straight, resumed)
    return {
        "holds": record["resumed_at"] > 0 and found <= 4 * repeated,
        "resumed_at": record["resumed_at"],
        "difference": found,
        "difference_of_two_straight_ones": repeated,
    }


def lease(study: Study) -> dict[str, Any]:
    """The second of two commands that ask for the only card waits for the first."""
    if study.device == "cpu":
        return {"skipped": "needs a card"}
    cards = torch.cuda.device_count()
    tell = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], time.time(), flush=True)"
    script = f"{tell}; time.sleep(3); print(time.time())"
    command = [
        *(sys.executable, "-m", "boldvision", "gpu", "--gpus", str(cards)),
        *("--locks", str(study.folder / "locks"), "--", sys.executable, "-c", script),
    ]
    two = (subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2))
    with ended(*two) as both:
        told = [process.communicate(timeout=PATIENCE_S)[0].split() for process in both]
    (uuid, start, end), (other, later, _) = sorted(told, key=lambda words: float(words[1]))
    return {
        "holds": uuid == other and uuid.startswith("GPU-") and float(later) >= float(end),
        "cards": cards,
        "waited_s": float(later) - float(start),
    }


def two_processes(study: Study) -> dict[str, Any]:
    """Two processes share a batch, on one card, over gloo; losses as of one process."""
    model = study.folder / "together"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", PROCESSES: "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    variables = [common | {"RANK": str(rank), "MASTER_PORT": str(port)} for rank in range(2)]
    with ended(*(study.start(model, own) for own in variables)) as pair:
        codes = [process.wait(PATIENCE_S) for process in pair]
    if any(codes):
        raise RuntimeError(f"two processes ended with {codes}; their messages are above")
    return _close(losses(model), losses(_straight(study)), TOGETHER)


def flash_attention(study: Study) -> dict[str, Any]:
    """Attention at 512 px in bf16 by the flash kernel, forward and back, as the plain one does."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    n, batch = (64, 2) if study.small else (4096, 8)
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(batch, 8, n, 40, device=study.device, dtype=torch.bfloat16, requires_grad=True)
        for _ in range(3)
    )
    results = []
    for kernel in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel([kernel]):  # raises where it cannot be used
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        results.append((out.detach(), *torch.autograd.grad(out.float().square().mean(), (q, k, v))))
    worst = max(
        float((ours - plain).abs().max() / plain.abs().max())
        for ours, plain in zip(*results, strict=True)
    )
    usable = None
    if study.device == "cuda":
        told = torch.backends.cuda.SDPAParams(q, k, v, None, 0.0, False, False)
        usable = torch.backends.cuda.can_use_flash_attention(told)
    return {"holds": usable is not False and worst < 0.03, "usable": usable, "difference": worst}


def _straight(study: Study) -> Path:
    model = study.folder / "straight"
    return model if model.is_dir() else study.train("straight")


def _close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> dict[str, Any]:
    worst = float(((found - expected) / expected).abs().max())
    return {"holds": worst <= tolerance, "difference": worst, "tolerance": tolerance,
            "first": float(found[0]), "last": float(found[-1])}  # fmt: skip


def _wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the training ended, or hung, before it wrote a checkpoint")
        time.sleep(0.005)
