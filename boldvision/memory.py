"""The memory of a card: what is said where it is too small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from boldvision.config import Training
from boldvision.errors import UserError

SIGNS = ("out of memory", "ALLOC_FAILED")
"""What torch, cuBLAS or cuDNN say of it."""

ASKED = re.compile(r"Tried to allocate (?P<asked>[\d.]+ \w+).*?capacity of (?P<all>[\d.]+ \w+)")


@contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Turn "out of memory" on a card into a `UserError` that says which setting takes less.

    Parameters
    ----------
    remedy
        Which one, as a sentence.

    Raises
    ------
    UserError
        The card was too small for what was computed in the block.
    """
    try:
        yield
    except RuntimeError as error:
        said = " ".join(str(error).split())
        if not any(sign in said for sign in SIGNS):
            raise
        found = ASKED.search(said)
        why = f", {found['asked']} more were asked for of a card of {found['all']}" if found else ""
        raise UserError(f"the memory of the GPU is too small{why}. {remedy}") from error


def training_remedy(run: Any, stage: str) -> str:
    """What takes less of a card in a stage of the training of a run."""
    section = "training" if hasattr(run, "training") else stage
    training = getattr(run, section, None)
    if not isinstance(training, Training):
        return "Use a card with more memory."
    less = f"Lower `{section}.device_batch_size` of the run (now {training.device_batch_size})"
    if not training.accumulates:
        less = "Share the batch among more GPUs (`gpus_per_job`)"
    if training.activation_checkpointing:
        return f"{less}: no model changes by it."
    return f"{less} or set `{section}.activation_checkpointing: true`: no model changes by either."


def reconstruction_remedy(run: Any) -> str:
    """What takes less of a card when pictures are made with a run."""
    size = run.reconstruction.batch_size
    return f"Lower `reconstruction.batch_size` of the run (now {size}): no picture changes by it."
