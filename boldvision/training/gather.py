"""Losses that compare the rows of a whole batch, whose processes hold a part of it each."""

from __future__ import annotations

import torch
from torch import distributed

from boldvision.config import Training
from boldvision.errors import UserError


def rows_of_all(own: torch.Tensor) -> torch.Tensor:
    """Rows of the global batch, of which `own` are those of this process.

    The gradient goes to these alone, times the number of processes: where each computes the same
    loss of all rows, the mean of their gradients, which is taken, is the gradient of that loss.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return own
    count, rows = distributed.get_world_size(), own.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(count)]
    distributed.all_gather(parts, rows)
    parts[distributed.get_rank()] = rows + count * (own - rows)
    return torch.cat(parts)


def require_whole_shares(settings: Training, section: str, processes: int) -> None:
    """Raise UserError unless a process computes its rows of a batch at once.

    Parameters
    ----------
    settings : Training
    section : str
        Where they stand in the run.
    processes : int
    """
    share = -(-settings.batch_size // processes)
    if share > settings.device_batch_size:
        raise UserError(
            f"{section}.device_batch_size is {settings.device_batch_size}; expected at least "
            f"{share}, the rows of a batch that each of {processes} processes has: their loss "
            "compares all rows, so gradients are not accumulated. Raise it, lower "
            f"`{section}.batch_size`, or set `gpus_per_job` higher."
        )
