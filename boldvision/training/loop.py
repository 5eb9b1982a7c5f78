"""The optimization loop that every trained decoder shares."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from boldvision import config
from boldvision.children import end_with_parent
from boldvision.device import HALF, best_device, fast_attention
from boldvision.seeds import derive
from boldvision.training import environment
from boldvision.training.checkpoint import Checkpoint, Progress
from boldvision.training.feed import Objective, feed
from boldvision.training.finite import check_loss, check_state
from boldvision.training.schedule import micro_batches, optimizer_settings

INTERRUPTED = 143
"""Exit status after SIGTERM: the checkpoint is written, the same command goes on from it."""

AGREE_EVERY = 10
"""Steps after which processes tell each other what they were asked for: each time, all wait."""


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
    optimizer = _adamw(model, settings, accelerator.device)
    model, optimizer = accelerator.prepare(model.train(), optimizer)
    checkpoint = Checkpoint(checkpoints, accelerator, model, optimizer, settings.checkpoint_every_s)
    training = _Training(
        model, optimizer, objective, accelerator, settings, seed, checkpoint, checkpoint.load()
    )
    first, started = training.progress.step, time.monotonic()
    with closing(checkpoint), fast_attention(accelerator.device, settings.precision):
        training.finish()
    seconds = time.monotonic() - started
    return {
        "steps": settings.steps,
        "resumed_at": first,
        "losses": training.progress.losses,
        "samples_per_second": (settings.steps - first) * settings.batch_size / max(seconds, 1e-9),
        "seconds": seconds,
        "processes": accelerator.num_processes,
    }


@dataclass
class _Training:
    """What :func:`optimize` is given, prepared for the device, and how far it has come."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    objective: Objective
    accelerator: Accelerator
    settings: config.Training
    seed: int
    checkpoint: Checkpoint
    progress: Progress
    unlogged: torch.Tensor = field(init=False)

    def finish(self) -> None:
        """All steps that are left, with a checkpoint now and then and where it is stopped."""
        accelerator, settings, progress = self.accelerator, self.settings, self.progress
        pieces = _pieces(settings, accelerator.process_index, accelerator.num_processes)
        steps = range(progress.step, settings.steps)
        order = ((step, rows) for step in steps for rows in pieces)
        self.unlogged = torch.tensor(progress.unlogged, device=accelerator.device)
        with _StopOnTerm() as stop, closing(feed(self.objective, order, accelerator.device)) as fed:
            bar = tqdm(
                steps, initial=progress.step, total=settings.steps, unit="step", mininterval=10,
                disable=not accelerator.is_main_process, file=sys.stderr,
            )  # fmt: skip
            for step in bar:
                self.unlogged += self._update(step, islice(fed, len(pieces)))
                progress.step = step + 1
                stopping, saving = self._agree(stop.received, self.checkpoint.due())
                if self._log(stopping or saving):
                    bar.set_postfix(loss=f"{progress.losses[-1]['loss']:.4f}")
                if stopping or saving:
                    self._check()
                    self.checkpoint.save(progress)
                if stopping:
                    self.checkpoint.close()  # before another SIGTERM would end the writing
                    sys.exit(INTERRUPTED)
        self._check()

    def _update(self, step: int, batches: Iterable[Any]) -> torch.Tensor:
        """One optimizer step; this process's mean loss."""
        settings, accelerator = self.settings, self.accelerator
        for group in self.optimizer.param_groups:
            group.update(optimizer_settings(step, settings))
        torch.manual_seed(derive(self.seed, "dropout", step, accelerator.process_index))
        losses = []
        for batch in batches:
            with accelerator.accumulate(self.model):
                loss = self.objective.loss(self.model, batch)
                accelerator.backward(loss)
                if settings.gradient_clip is not None and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def _agree(self, *asked: bool) -> list[bool]:
        """What any process is asked for, all do; several look up every `AGREE_EVERY` steps."""
        if self.accelerator.num_processes == 1:
            return list(asked)
        if self.progress.step % AGREE_EVERY:
            return [False] * len(asked)
        flags = torch.tensor(asked, dtype=torch.float32, device=self.accelerator.device)
        return (self.accelerator.reduce(flags, "sum") > 0).tolist()

    def _log(self, saving: bool) -> bool:
        """Take up and check the losses, where somebody will read them; whether the curve grew."""
        progress, settings = self.progress, self.settings
        logging = progress.step % settings.log_every == 0
        if not (logging or saving or progress.step == settings.steps):
            return False
        progress.unlogged = self.accelerator.reduce(self.unlogged, "mean").item()
        check_loss(progress.unlogged, progress.step, progress.losses)
        if logging:
            loss = progress.unlogged / settings.log_every
            progress.losses.append({"step": progress.step, "loss": loss})
            progress.unlogged = 0.0
            self.unlogged.zero_()
        return logging

    def _check(self) -> None:
        progress = self.progress
        check_state(self.accelerator, self.model, self.optimizer, progress.step, progress.losses)


def _adamw(
    model: torch.nn.Module, settings: config.Training, device: torch.device
) -> torch.optim.AdamW:
    """Of what is trained, decayed or not; every step is given its learning rate."""
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            exempt = any(part in name for part in settings.undecayed)
            (others if exempt else decayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda",
    )


def _pieces(settings: config.Training, process: int, processes: int) -> list[slice]:
    return micro_batches(settings.batch_size, settings.device_batch_size, process, processes)


def make_accelerator(settings: config.Training, some_unused: bool = False) -> Accelerator:
    """Accelerator with everything that matters taken from the configuration.

    Our launcher says how many processes there are, see :mod:`boldvision.training.environment`. One
    process has no use for DeepSpeed, which divides state among processes. Several end with their
    launcher, even if that is killed: otherwise they would go on with GPUs that count as free.
    In half precision, a card multiplies what stays in float32 as TensorFloat-32.

    Parameters
    ----------
    settings : config.Training
    some_unused : bool
        Whether a step may leave trained parameters out, as that of a joint model does with subjects
        of whom it holds no window.
    """
    from accelerate.utils import DistributedDataParallelKwargs

    processes = environment.processes()
    pieces = _pieces(settings, 0, processes)
    together = DistributedDataParallelKwargs(
        find_unused_parameters=some_unused, gradient_as_bucket_view=True
    )
    options = {
        "cpu": best_device() == "cpu",
        "mixed_precision": settings.precision,
        "kwargs_handlers": [together],
    }
    if settings.precision in HALF:
        torch.set_float32_matmul_precision("high")
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
    pieces = _pieces(settings, 0, processes)
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
    """Remembers SIGTERM until the step is finished on every process.

    Attributes
    ----------
    received : bool
    """

    def __enter__(self) -> _StopOnTerm:
        self.received = False
        self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _receive(self, signum, frame) -> None:
        self.received = True
