"""How fast something is, and how much memory of a card it takes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch


def calls_per_s(call: Callable[[], object], seconds: float) -> float:
    """Calls per second, for about so many seconds; the first one warms up and does not count."""
    call()
    wait()
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < seconds:
        call()
        wait()
        calls += 1
    return calls / (time.perf_counter() - start)


def peak_teraflop_per_s(seconds: float = 1.0) -> float:
    """Of products of large matrices: bf16 on a card, float32 on CPU cores."""
    on_card = torch.cuda.is_available()
    n, dtype = (8192, torch.bfloat16) if on_card else (1024, torch.float32)
    left, right = torch.randn(2, n, n, device="cuda" if on_card else "cpu", dtype=dtype)

    def products() -> None:
        for _ in range(10):
            torch.mm(left, right)

    return 10 * 2 * n**3 / 1e12 * calls_per_s(products, seconds)


def wait() -> None:
    """Until the card has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget_memory() -> None:
    """Free what nobody holds, and begin to watch the memory of the card anew."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory_gb() -> float | None:
    """The most memory of the card that was used at once since `forget_memory`; None without one."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
