"""A NaN or an infinity ends a training before it can be saved, on all processes at once.

What a step makes of its gradients is seen in the parameters and in AdamW's moments, so the norm of
the gradients, which half precision may leave infinite for a step that is then skipped, is not
looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator

from boldvision.errors import UserError
from boldvision.parameters import non_finite

REMEDY = (
    "Lower the run's `learning_rate`, lengthen the rise to it (`warmup_steps`, or `peak_at` of "
    "`one_cycle`), or set `precision` to bf16 or no"
)
"""What to try after a training that diverged."""


def check_loss(total: float, step: int, losses: Sequence[Mapping[str, float]]) -> None:
    """Compare a sum of losses, already the same on all processes, with the numbers.

    Parameters
    ----------
    total : float
        Sum over the steps since the last line of `losses`.
    step : int
        Finished steps.
    losses : sequence of mapping
        The loss curve so far.

    Raises
    ------
    UserError
        A loss was not finite.
    """
    if not math.isfinite(total):
        raise _diverged("the loss", step, losses)


def check_state(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    losses: Sequence[Mapping[str, float]],
) -> None:
    """Look at what is about to be saved: trained parameters and the optimizer's moments.

    Raises
    ------
    UserError
        Some are not finite, on any of the processes.
    """
    state = dict(accelerator.unwrap_model(model).trained())
    if accelerator.distributed_type.value != "DEEPSPEED":  # which keeps its moments elsewhere
        for i, moments in enumerate(optimizer.state.values()):
            state |= {f"AdamW's {name} of parameter {i}": value for name, value in moments.items()}
    found = non_finite(state)
    flag = torch.tensor(float(found is not None), device=accelerator.device)
    if accelerator.reduce(flag, "sum").item() > 0:
        raise _diverged(found or "a parameter of another process", step, losses)


def _diverged(what: str, step: int, losses: Sequence[Mapping[str, float]]) -> UserError:
    last = "no finite loss was logged before"
    if losses:
        last = f"the last finite loss, at step {losses[-1]['step']}, was {losses[-1]['loss']:.4g}"
    return UserError(
        f"training: {what} is not finite after {step} steps; {last}. Nothing was saved since. "
        f"{REMEDY}; a checkpoint that is left is gone on from only with the same settings."
    )
