"""Learning rate and order of samples, both functions of the step alone."""

from __future__ import annotations

import math

import numpy as np

from boldvision.errors import UserError
from boldvision.seeds import numpy_generator


def learning_rate(step: int, peak: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up to `peak`, then cosine to zero (paper, appendix B)."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


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
