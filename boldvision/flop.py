"""Counted operations: what a network computes, whatever it computes it on."""

from __future__ import annotations

from collections.abc import Callable


def teraflop(function: Callable[[], object]) -> float:
    """Operations of one call, 10^12, 2 per multiply-add.

    Matrix products, convolutions and attention are counted, with their backward passes. On torch's
    device ``meta`` there is no arithmetic in that, only shapes.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e12
