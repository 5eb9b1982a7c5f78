"""The optimization loop that every trained decoder shares."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from tqdm import tqdm

from boldvision import config
from boldvision.children import end_with_parent
from boldvision.device import best_device
from boldvision.seeds import derive
from boldvision.training import environment
from boldvision.training.checkpoint import Checkpoint, Progress
from boldvision.training.finite import check_loss, check_state
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
) -> dict[str, Any]:
    """Minimize `objective` over the trained parameters of `model`, in place.

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
    dict
        Loss curve, and the throughput since the last resumption, for ``training.json``.
    """
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=0.0, betas=settings.betas, weight_decay=settings.weight_decay,
    )  # fmt: skip
    model, optimizer = accelerator.prepare(model.train(), optimizer)
    checkpoint = Checkpoint(checkpoints, accelerator, model, optimizer)
    progress = checkpoint.load()
    first, started = progress.step, time.monotonic()
    _loop(model, optimizer, objective, accelerator, settings, seed, checkpoint, progress)
    seconds = time.monotonic() - started
    return {
        "steps": settings.steps,
        "resumed_at": first,
        "losses": progress.losses,
        "samples_per_second": (settings.steps - first) * settings.batch_size / max(seconds, 1e-9),
        "seconds": seconds,
        "processes": accelerator.num_processes,
    }


def _loop(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    accelerator: Accelerator,
    settings: config.Training,
    seed: int,
    checkpoint: Checkpoint,
    progress: Progress,
) -> None:
    """All steps that `progress` lacks, with a checkpoint now and then and where it is stopped."""
    unlogged = torch.tensor(progress.unlogged, device=accelerator.device)
    with _StopOnTerm() as stop:
        bar = tqdm(
            range(progress.step, settings.steps), initial=progress.step, total=settings.steps,
            unit="step", mininterval=10, disable=not accelerator.is_main_process, file=sys.stderr,
        )  # fmt: skip
        for step in bar:
            unlogged += _update(model, optimizer, objective, accelerator, settings, seed, step)
            progress.step = step + 1
            stopping = stop.requested(accelerator)
            if _log(progress, unlogged, accelerator, settings, stopping):
                bar.set_postfix(loss=f"{progress.losses[-1]['loss']:.4f}")
            if stopping or progress.step % settings.checkpoint_every == 0:
                check_state(accelerator, model, optimizer, progress.step, progress.losses)
                checkpoint.save(progress)
            if stopping:
                sys.exit(INTERRUPTED)
    check_state(accelerator, model, optimizer, progress.step, progress.losses)


def _log(
    progress: Progress,
    unlogged: torch.Tensor,
    accelerator: Accelerator,
    settings: config.Training,
    stopping: bool,
) -> bool:
    """Take up and check the losses, where somebody will read them; whether the curve has grown."""
    step = progress.step
    logging = step % settings.log_every == 0
    if not (logging or stopping or step % settings.checkpoint_every == 0 or step == settings.steps):
        return False
    progress.unlogged = accelerator.reduce(unlogged, "mean").item()
    check_loss(progress.unlogged, step, progress.losses)
    if logging:
        progress.losses.append({"step": step, "loss": progress.unlogged / settings.log_every})
        progress.unlogged = 0.0
        unlogged.zero_()
    return logging


def _update(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    accelerator: Accelerator,
    settings: config.Training,
    seed: int,
    step: int,
) -> torch.Tensor:
    """One optimizer step; this process's mean loss."""
    rate = learning_rate(step, settings.learning_rate, settings.warmup_steps, settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(derive(seed, "dropout", step, accelerator.process_index))
    pieces = micro_batches(
        settings.batch_size,
        settings.device_batch_size,
        accelerator.process_index,
        accelerator.num_processes,
    )
    losses = []
    for rows in pieces:
        with accelerator.accumulate(model):
            loss = objective(model, step, rows)
            accelerator.backward(loss)
            if settings.gradient_clip is not None and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def make_accelerator(settings: config.Training) -> Accelerator:
    """Accelerator with everything that matters taken from the configuration.

    Our launcher says how many processes there are, see :mod:`boldvision.training.environment`. One
    process has no use for DeepSpeed, which divides state among processes. Several end with their
    launcher, even if that is killed: otherwise they would go on with GPUs that count as free.
    """
    from accelerate.utils import DistributedDataParallelKwargs

    processes = environment.processes()
    pieces = micro_batches(settings.batch_size, settings.device_batch_size, 0, processes)
    options = {
        "cpu": best_device() == "cpu",
        "mixed_precision": settings.precision,
        "kwargs_handlers": [DistributedDataParallelKwargs(find_unused_parameters=True)],
    }
    if processes > 1:
        end_with_parent(signal.SIGKILL)
        if settings.deepspeed is not None:
            options = _deepspeed_options(settings, processes)
    return Accelerator(gradient_accumulation_steps=len(pieces), **options)


def _deepspeed_options(settings: config.Training, processes: int) -> dict[str, Any]:
    """Without a GPU the backend is named, since with ``cpu`` accelerate leaves DeepSpeed out."""
    from accelerate.utils import DeepSpeedPlugin, InitProcessGroupKwargs

    backend = InitProcessGroupKwargs(backend="gloo")
    return {
        "mixed_precision": "no",
        "deepspeed_plugin": DeepSpeedPlugin(hf_ds_config=deepspeed_config(settings, processes)),
        "kwargs_handlers": [backend] if best_device() == "cpu" else [],
    }


def deepspeed_config(settings: config.Training, processes: int) -> dict[str, Any]:
    """File `settings.deepspeed`, completed by what the run decides.

    Under DeepSpeed accelerate takes the batch from a DataLoader, which there is none of here, clips
    no gradient, and turns networks but not their inputs to half precision: autocast does neither
    more nor less than without DeepSpeed. This has been run on two CPU processes, never on GPUs.
    """
    pieces = micro_batches(settings.batch_size, settings.device_batch_size, 0, processes)
    dtype = "float16" if settings.precision == "fp16" else "bfloat16"
    return json.loads(Path(settings.deepspeed or "").read_text()) | {
        "train_batch_size": settings.batch_size,
        "train_micro_batch_size_per_gpu": pieces[0].stop - pieces[0].start,
        "gradient_accumulation_steps": len(pieces),
        "gradient_clipping": settings.gradient_clip or 0.0,
        "torch_autocast": {"enabled": settings.precision != "no", "dtype": dtype},
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
    }


class _StopOnTerm:
    """Remembers SIGTERM until the step is finished on every process."""

    def __enter__(self) -> _StopOnTerm:
        self._received = False
        self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _receive(self, signum, frame) -> None:
        self._received = True

    def requested(self, accelerator: Accelerator) -> bool:
        if accelerator.num_processes == 1:
            return self._received
        flag = torch.tensor(float(self._received), device=accelerator.device)
        return accelerator.reduce(flag, "sum").item() > 0
