"""The optimization loop that every trained decoder shares."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from tqdm import tqdm

from boldvision import config
from boldvision.seeds import derive
from boldvision.training.checkpoint import Checkpoint
from boldvision.training.schedule import learning_rate, micro_batches

INTERRUPTED = 143
"""Exit status after SIGTERM: the checkpoint is written, the same command goes on from it."""


class Objective(Protocol):
    """What is minimized."""

    def __call__(self, model: torch.nn.Module, step: int, rows: slice) -> torch.Tensor:
        """Mean loss over `rows` of the global batch of `step`."""
        ...


def optimize(
    model: torch.nn.Module,
    objective: Objective,
    accelerator: Accelerator,
    settings: config.Training,
    seed: int,
    checkpoints: Path,
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Minimize `objective` over the trained parameters of `model`.

    One optimizer step sees the same global batch and the same noise on any number of devices.

    Parameters
    ----------
    model : Module
        With a method ``trained()``: the parameters to optimize and to save, by name.
    objective : Objective
    accelerator : Accelerator
        From :func:`make_accelerator`.
    settings : config.Training
    seed : int
    checkpoints : Path
        Folder of the checkpoint; a run that finds one continues it.

    Returns
    -------
    model : Module
        Unwrapped.
    record : dict
        Loss curve and throughput, for ``training.json``.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=0.0, betas=settings.betas, weight_decay=settings.weight_decay
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    checkpoint = Checkpoint(checkpoints, accelerator, model, optimizer)
    first = checkpoint.load()
    pieces = _pieces(accelerator, settings)
    stop = _StopOnTerm()
    losses: list[dict[str, float]] = []
    mean, started = torch.zeros((), device=accelerator.device), time.monotonic()
    model.train()
    bar = tqdm(
        range(first, settings.steps), initial=first, total=settings.steps, unit="step",
        mininterval=10, disable=not accelerator.is_main_process, file=sys.stderr,
    )  # fmt: skip
    for step in bar:
        rate = learning_rate(step, settings.learning_rate, settings.warmup_steps, settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(derive(seed, "dropout", step, accelerator.process_index))
        for rows in pieces:
            with accelerator.accumulate(model):
                loss = objective(model, step, rows)
                accelerator.backward(loss)
                if settings.gradient_clip is not None and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(trained, settings.gradient_clip)
                optimizer.step()
                optimizer.zero_grad()
            mean += loss.detach() / len(pieces)
        done = step + 1
        if done % settings.log_every == 0:
            value = accelerator.reduce(mean, "mean").item() / settings.log_every
            rate_s = (done - first) * settings.batch_size / (time.monotonic() - started)
            losses.append({"step": done, "loss": value})
            bar.set_postfix(loss=f"{value:.4f}", samples_per_s=f"{rate_s:.0f}")
            mean.zero_()
        stopping = stop.requested(accelerator)
        if stopping or done % settings.checkpoint_every == 0:
            checkpoint.save(done)
        if stopping:
            sys.exit(INTERRUPTED)
    seconds = time.monotonic() - started
    record = {
        "steps": settings.steps,
        "resumed_at": first,
        "losses": losses,
        "samples_per_second": (settings.steps - first) * settings.batch_size / max(seconds, 1e-9),
        "seconds": seconds,
        "processes": accelerator.num_processes,
    }
    return accelerator.unwrap_model(model), record


def make_accelerator(settings: config.Training) -> Accelerator:
    """Accelerator with everything that matters taken from the configuration."""
    from accelerate import PartialState
    from accelerate.utils import DistributedDataParallelKwargs

    processes = PartialState().num_processes
    pieces = micro_batches(settings.batch_size, settings.device_batch_size, 0, processes)
    return Accelerator(
        mixed_precision=settings.precision,
        gradient_accumulation_steps=len(pieces),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _pieces(accelerator: Accelerator, settings: config.Training) -> list[slice]:
    return micro_batches(
        settings.batch_size,
        settings.device_batch_size,
        accelerator.process_index,
        accelerator.num_processes,
    )


class _StopOnTerm:
    """Remembers SIGTERM until the step is finished on every process."""

    def __init__(self) -> None:
        self._received = False
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, signum, frame) -> None:
        self._received = True

    def requested(self, accelerator: Accelerator) -> bool:
        if accelerator.num_processes == 1:
            return self._received
        flag = torch.tensor(float(self._received), device=accelerator.device)
        return accelerator.reduce(flag, "sum").item() > 0
