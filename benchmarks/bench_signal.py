"""Cleaning of one run: boldvision against nilearn.signal.clean, both in this process.

    python benchmarks/bench_signal.py [OUT.json]

prints and writes (to benchmarks/signal.json) seconds and peak memory of each, and their ratio.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from nilearn.signal import clean as nilearn_clean

from boldvision.datasets.nsd.runs import TR_S
from boldvision.signal.clean import clean

VOXELS = 15724  # nsdgeneral of subj01
CUTOFF_S = 128.0
REPEATS = 5
NILEARN = {
    "cosine": {"detrend": False, "filter": "cosine", "high_pass": 1 / CUTOFF_S},
    "linear": {"detrend": True, "high_pass": None},
}


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_mb(function: Callable[[], object]) -> float:
    """Most memory allocated during one call beyond what was there before, MB."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def compare(series: np.ndarray, detrend: str) -> dict[str, float]:
    """Seconds (median of alternating calls), peak memory and largest difference of the results."""

    def ours() -> np.ndarray:
        return clean(series, detrend, CUTOFF_S, TR_S)[0]

    def theirs() -> np.ndarray:
        return nilearn_clean(series, t_r=TR_S, standardize="zscore_sample", **NILEARN[detrend])

    difference = float(np.abs(ours() - theirs()).max())
    times = [(seconds(ours), seconds(theirs)) for _ in range(REPEATS)]
    our_s, their_s = (statistics.median(column) for column in zip(*times, strict=True))
    our_mb, their_mb = peak_mb(ours), peak_mb(theirs)
    return {
        "boldvision_s": our_s,
        "nilearn_s": their_s,
        "time_ratio": our_s / their_s,
        "boldvision_peak_mb": our_mb,
        "nilearn_peak_mb": their_mb,
        "memory_ratio": our_mb / their_mb,
        "largest_difference": difference,
    }


def main(out: Path) -> None:
    """Run the comparison on a simulated run of true size."""
    random = np.random.default_rng(0)
    series = 600 + 30 * random.standard_normal((225, VOXELS), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = {detrend: compare(series, detrend) for detrend in NILEARN}
    for detrend, values in results.items():
        print(detrend, *(f"{name} {value:.3g}" for name, value in values.items()), sep="\n  ")
    out.write_text(json.dumps({"shape": series.shape, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("signal.json"))
