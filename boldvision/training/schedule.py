"""What the optimizer is told and the order of samples, both functions of the step alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from boldvision.errors import UserError
from boldvision.seeds import numpy_generator

if TYPE_CHECKING:
    from boldvision.config.runs import OneCycle, Training


def learning_rate(step: int, peak: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up to `peak`, then cosine to zero (paper, appendix B)."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(step: int, peak: float, cycle: OneCycle, steps: int) -> tuple[float, float]:
    """Learning rate and momentum of torch's ``OneCycleLR``, of two phases and cosines."""
    rise, first = cycle.peak_at * steps - 1, peak / cycle.start
    momentum, of_peak = cycle.momentum
    if step <= rise:
        along = step / rise if rise else 1.0
        return _cosine(first, peak, along), _cosine(momentum, of_peak, along)
    along = (step - rise) / (steps - 1 - rise)
    return _cosine(peak, first / cycle.end, along), _cosine(of_peak, momentum, along)


def _cosine(start: float, end: float, along: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * along))


def optimizer_settings(step: int, settings: Training) -> dict[str, Any]:
    """What AdamW is told before a step: its learning rate and, in one cycle, its betas."""
    peak, steps = settings.learning_rate, settings.steps
    if settings.one_cycle is None:
        return {"lr": learning_rate(step, peak, settings.warmup_steps, steps)}
    rate, momentum = one_cycle(step, peak, settings.one_cycle, steps)
    return {"lr": rate, "betas": (momentum, settings.betas[1])}


class ShuffledBatches:
    """Global batches of sample indices; every epoch is a permutation drawn from (seed, epoch).

    Parameters
    ----------
    n_samples, batch_size : int
    seed : int
    """

    def __init__(self, n_samples: int, batch_size: int, seed: int):
        self.n_samples, self.batch_size, self.seed = n_samples, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, int)

    def __getitem__(self, step: int) -> np.ndarray:
        """Indices [batch_size] of a step."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.concatenate(
            [
                self._permutation(epoch)[
                    positions[positions // self.n_samples == epoch] % len(self)
                ]
                for epoch in np.unique(positions // self.n_samples).tolist()
            ]
        )

    def __len__(self) -> int:
        return self.n_samples

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            random = numpy_generator(self.seed, "epoch", epoch)
            self._epoch, self._order = epoch, random.permutation(self.n_samples)
        return self._order


def micro_batches(
    batch_size: int, device_batch_size: int, process: int, processes: int
) -> list[slice]:
    """This process's share of a global batch, in pieces that fit a device.

    Every process gets as many pieces of one size, so the update is that of the global batch
    whatever the number of devices.

    Raises
    ------
    UserError
        The batch cannot be shared equally.
    """
    share, remainder = divmod(batch_size, processes)
    if remainder:
        raise UserError(
            f"training.batch_size is {batch_size}; expected a multiple of the {processes} "
            "processes that share it. Change it, or `gpus_per_job`."
        )
    pieces = -(-share // device_batch_size)
    while share % pieces:
        pieces += 1
    size = share // pieces
    return [
        slice(start, start + size) for start in range(process * share, (process + 1) * share, size)
    ]
