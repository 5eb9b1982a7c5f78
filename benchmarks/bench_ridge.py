"""How long Brain-Diffuser's regressions take at true shapes, beside scikit-learn's, one per token.

    python benchmarks/bench_ridge.py [OUT.json] [SAMPLES]

simulates windows of subj01, 6 x 15,724 features, in memory; prints and writes (to
benchmarks/ridge.json) seconds of each part, with 347,680 targets and 1,000 test windows, and the
peak of memory. Of scikit-learn one token of CLIP is fitted and predicted, on the cores of the same
machine, and counted 334 times: 257 of images, 77 of captions. Its one fit of all latents is not
counted: the weights are 34 GB. Of 27,000 samples operations and bytes are counted.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from goals import Goal, report
from sklearn.linear_model import Ridge

from boldvision.decoders.brain_diffuser.cost import REPETITIONS, fitting, predicting
from boldvision.decoders.brain_diffuser.dual import (
    HELD,
    ROWS,
    Spectrum,
    cross,
    gram,
    slices,
    spectrum,
)
from boldvision.decoders.brain_diffuser.ridge import moments_of
from boldvision.device import best_device

FEATURES = 6 * 15724
TARGETS = {
    "latents": (91168, 5e4),
    "image_tokens": (257 * 768, 6e4),
    "text_tokens": (77 * 768, 1e5),
}
"""Dimensions and penalty."""
TOKENS, WIDTH = 257 + 77, 768
TESTED, WHOLE = 1000, 27000
SAMPLES = {"cuda": 9000, "cpu": 3000}


class Columns:
    """A target as `boldvision.decoders.brain_diffuser.examples.Targets` has them, in memory."""

    def __init__(self, images: int, dimensions: int):
        self.dimensions, self.some = dimensions, HELD // images
        random = torch.Generator().manual_seed(0)
        self.values = torch.randn(images, min(self.some, dimensions), generator=random).half()

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """The same numbers in every block."""
        for some in slices(self.dimensions, self.some):
            yield some, self.values[:, : some.stop - some.start]


class Clock:
    """Seconds of the parts of some work on `device`."""

    def __init__(self, device: str):
        self.device, self.parts = device, dict[str, float]()

    def time(self, name: str, function: Callable):
        """What the function returns."""
        start = time.perf_counter()
        made = function()
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.parts[name] = self.parts.get(name, 0.0) + time.perf_counter() - start
        print(f"{name} {self.parts[name]:.3g} s", flush=True)
        return made


def own(bold: torch.Tensor, tested: torch.Tensor, device: str) -> dict[str, float]:
    """Seconds of each part: fits, moments of left-out predictions, predictions of new windows."""
    n, clock = len(bold), Clock(device)
    member = torch.arange(n) % (n // REPETITIONS)
    targets = {name: Columns(n // REPETITIONS, size) for name, (size, _) in TARGETS.items()}

    def read(rows: slice) -> torch.Tensor:
        return bold[rows].to(device, torch.float64)

    with tempfile.TemporaryDirectory() as folder:
        made = clock.time("gram", lambda: gram(read, n, Path(folder)))
        fit = clock.time("spectrum", lambda: spectrum(made, member, Path(folder), device))
    new = clock.time("cross", lambda: cross(tested.to(device, torch.float64), read, n))
    for name, (_, alpha) in TARGETS.items():
        clock.time("moments", lambda name=name, alpha=alpha: moments_of(fit, targets[name], alpha))
        predicted = clock.time(
            "predictions", lambda name=name, alpha=alpha: predict(fit, new, targets[name], alpha)
        )
        assert predicted, "predictions are not finite"
    return clock.parts


def predict(fit: Spectrum, products: torch.Tensor, targets: Columns, alpha: float) -> bool:
    """Whether predictions, made block by block, are finite."""
    shares = fit.shares(products, fit.per_image(), alpha).float()
    parts = [(shares @ block.to(shares)).sum() for _, block in targets.blocks()]
    return bool(torch.isfinite(torch.stack(parts)).all())


def scikit_learn(bold: torch.Tensor, tested: torch.Tensor) -> float:
    """Seconds of one token's fit and predictions, in float32."""
    values = np.random.default_rng(0).standard_normal((len(bold), WIDTH), np.float32)
    start = time.perf_counter()
    Ridge(alpha=6e4).fit(bold.numpy(), values).predict(tested.numpy())
    return time.perf_counter() - start


def counted(n: int) -> dict[str, float]:
    """Operations and bytes of a model of `n` samples."""
    images, columns = n // REPETITIONS, sum(size for size, _ in TARGETS.values())
    parts = fitting(n, images, FEATURES, columns)
    parts["predictions"] = predicting(TESTED, n, images, FEATURES, columns)
    return {
        **{f"{name}_teraflop": count for name, count in parts.items()},
        "model_gb": 8 * n**2 / 1e9,
        "products_and_eigenvectors_gb": 16 * n**2 / 1e9,
        "block_of_windows_gb": 8 * ROWS * FEATURES / 1e9,
        "block_of_targets_gb": 8 * HELD / 1e9,
        "read_gb": 4 * FEATURES * sum(block.stop for block in slices(n, ROWS)) / 1e9,
    }


def measure(n: int, device: str) -> dict:
    """All that is written."""
    random = torch.Generator().manual_seed(0)
    bold = torch.randn(n, FEATURES, generator=random)
    bold -= bold.mean(0)
    tested = torch.randn(TESTED, FEATURES, generator=random)
    parts = own(bold, tested, device)
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    one = scikit_learn(bold, tested)
    seconds = sum(parts.values())
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "samples": n,
        "seconds": parts,
        "seconds_in_all": seconds,
        "host_peak_gb_without_windows": host - 4 * FEATURES * (n + TESTED) / 1e9,
        "device_peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
        "scikit_learn_seconds_of_a_token": one,
        "times_as_fast": TOKENS * one / seconds,
        "counted": {str(size): counted(size) for size in (n, WHOLE)},
    }


def main(out: Path, samples: int | None) -> None:
    """Measure, print and write."""
    device = best_device()
    found = measure(samples or SAMPLES[device], device)
    goals = [
        Goal("times as fast as scikit-learn's fits", found["times_as_fast"], at_least=5),
        Goal("GB beside the windows", found["host_peak_gb_without_windows"], at_most=16),
    ]
    out.write_text(json.dumps(found | {"goals": report(goals)}, indent=1) + "\n")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("ridge.json"),
        int(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
