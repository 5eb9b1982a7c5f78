"""Batches on the device, read and drawn ahead of it by a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import torch
from accelerate.utils import recursively_apply

AHEAD = 2
"""Batches that wait while one is computed with."""


class Objective(Protocol):
    """What is minimized."""

    def batch(self, step: int, rows: slice) -> Any:
        """What `loss` needs of `rows` of the global batch of `step`.

        It is made by a thread, steps ahead, and a function of the step and the row alone.

        Returns
        -------
        nested dict, list or tuple of Tensor
            On the CPU.
        """
        ...

    def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        """Mean loss over a batch, which is on the device of the model."""
        ...


def feed(
    objective: Objective, pieces: Iterable[tuple[int, slice]], device: torch.device
) -> Generator[Any]:
    """What `objective` reads and draws for each of `pieces`, in that order, on `device`.

    A thread prepares `AHEAD` of them while the device computes, in pinned memory, and copies them
    on a stream of its own. What it raises is raised here. To be closed, or read to its end.

    Parameters
    ----------
    objective : Objective
    pieces : iterable of (int, slice)
        Step, and rows of its global batch.
    device : torch.device
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    # Else the thread would begin on the first card, and take memory there, whichever is ours.
    begin = partial(torch.cuda.set_stream, stream) if stream else None
    waiting = deque[Future]()
    with ThreadPoolExecutor(1, "feed", begin) as thread:
        try:
            for step, rows in pieces:
                waiting.append(thread.submit(_prepare, objective, step, rows, stream))
                if len(waiting) > AHEAD:
                    yield _arrived(waiting.popleft().result(), stream)
            while waiting:
                yield _arrived(waiting.popleft().result(), stream)
        finally:
            for future in waiting:
                future.cancel()


def _prepare(
    objective: Objective, step: int, rows: slice, stream: torch.cuda.Stream | None
) -> tuple[Any, torch.cuda.Event | None]:
    """A batch and, where it is still on its way to a card, what says that it has arrived."""
    batch = objective.batch(step, rows)
    if stream is None:
        return batch, None
    moved = recursively_apply(
        lambda tensor: tensor.pin_memory().to(stream.device, non_blocking=True), batch
    )
    return moved, stream.record_event()


def _arrived(prepared: tuple[Any, torch.cuda.Event | None], stream: Any) -> Any:
    batch, event = prepared
    if event is not None:
        current = torch.cuda.current_stream(stream.device)
        current.wait_event(event)
        recursively_apply(lambda tensor: tensor.record_stream(current), batch)
    return batch
