"""What the trainings of the small networks that ship have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.parameters import non_finite
from boldvision.training.schedule import learning_rate

REMEDY = "nothing was written. Take more scenes (--scenes) or another --seed"


def descend(
    parameters: Iterable[nn.Parameter], steps: int, peak: float, weight_decay: float = 0.0
) -> Iterator[int]:
    """Yield the number of each step; after each backward pass of the caller, take an AdamW step.

    Raises
    ------
    UserError
        A gradient is not finite.
    """
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=weight_decay)
    for step in tqdm(range(steps), unit="step", mininterval=10):
        optimizer.param_groups[0]["lr"] = learning_rate(step, peak, steps // 20 + 1, steps)
        optimizer.zero_grad()
        yield step
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if not norm.isfinite():
            raise UserError(
                f"pretraining: expected finite gradients, found norm {norm} at step {step + 1} of "
                f"{steps}; {REMEDY}."
            )
        optimizer.step()


def save_half(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write parameters by name in float16, as they ship.

    Raises
    ------
    UserError
        One is not finite in float16.
    """
    half = {name: value.detach().cpu().half().contiguous() for name, value in state.items()}
    require_finite(half)
    with atomic(path) as part:
        save_file(half, part, metadata={"format": "pt"})


def require_finite(half: Mapping[str, torch.Tensor]) -> None:
    """Refuse parameters in float16 that are not finite.

    Raises
    ------
    UserError
        Names one of them.
    """
    if name := non_finite(half):
        raise UserError(
            f"pretraining: expected parameters that are finite as float16, found NaN or infinity "
            f"in {name}; {REMEDY}."
        )
