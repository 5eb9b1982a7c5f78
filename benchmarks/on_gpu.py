"""Whether a card computes what it should, and how fast: one script of under 8 minutes.

    PYTHONPATH=. python benchmarks/on_gpu.py [--out OUT] [--budget SECONDS] [--small] [--parts …]

It needs the tree, its environment, and no network: data and networks are random. Each part is
written to the JSON (benchmarks/on_gpu.json) as soon as it has ended; one that fails is recorded,
and the others go on. The exit status is 1 if a part failed or something does not hold; goals of
speed are printed, and do not count. `--small` takes the miniature's sizes, which a CPU does too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before torch: sums in one order

import on_gpu_right as right
import on_gpu_speed as speed
import torch
from goals import Goal, report
from on_gpu_study import Study

from boldvision.benchmark.stage import device
from boldvision.benchmark.timing import forget_memory
from boldvision.files import atomic

PARTS: dict[str, Callable[[Study], dict[str, Any]]] = {
    "flash_attention": right.flash_attention,
    "curve": right.curve,
    "half_precision": right.half_precision,
    "resume": right.resume,
    "lease": right.lease,
    "two_processes": right.two_processes,
    "peak": speed.peak,
    "step": speed.step,
    "sampling": speed.sampling,
    "benchmark_gpu": speed.benchmark_gpu,
    "step_eager": speed.step_eager,
    "step_checkpointing": speed.step_checkpointing,
    "step_channels_last": speed.step_channels_last,
}
"""In this order: what matters most before what only compares."""

LONGEST_S = 240
"""Of one part."""


class TooLong(BaseException):
    """Ends a part; no `Exception`, which what is measured may take for its own."""


def main(argv: list[str]) -> int:
    """Run all parts; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("on_gpu.json"))
    parser.add_argument("--budget", type=float, default=460, help="no part begins after it, s")
    parser.add_argument("--small", action="store_true", help="the miniature's sizes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    options = parser.parse_args(argv)
    if not options.small and not torch.cuda.is_available():
        parser.error("there is no card; --small runs on a CPU")
    began, found = time.monotonic(), {**device(), "small": options.small, "parts": {}}
    with tempfile.TemporaryDirectory(dir=options.out.parent, prefix=".on_gpu.") as folder:
        study = Study(Path(folder), options.small)
        for name in options.parts:
            left = options.budget - (time.monotonic() - began)
            found["parts"][name] = _run(PARTS[name], study, min(left, LONGEST_S))
            print(name, json.dumps(_brief(found["parts"][name])), flush=True)
            _write(options.out, found)
    found["goals"] = report(_goals(found["parts"]))
    found["failed"] = [name for name, part in found["parts"].items() if _failed(part)]
    found["seconds"] = time.monotonic() - began
    _write(options.out, found)
    print(f"failed: {', '.join(found['failed']) or 'none'}; {found['seconds']:.0f} s")
    return 1 if found["failed"] else 0


def _run(part: Callable[[Study], dict[str, Any]], study: Study, limit_s: float) -> dict[str, Any]:
    """What a part found, or how it failed, and how long it took."""
    if limit_s <= 0:
        return {"skipped": "no time was left"}
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        found = part(study)
    except (Exception, TooLong) as error:
        traceback.print_exc()
        found = {"failed": f"{type(error).__name__}: {error}"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    forget_memory()
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _too_long(signum, frame) -> None:
    raise TooLong("it took too long")


def _goals(parts: dict[str, Any]) -> list[Goal]:
    """Of speed; a part that did not end has none."""
    goals = []
    if all("teraflop_per_s" in parts.get(name, {}) for name in ("step", "peak")):
        share = parts["step"]["teraflop_per_s"] / parts["peak"]["teraflop_per_s"]
        goals.append(Goal("training step, share of the bf16 peak seen here", share, at_least=0.45))
    if "ratio" in parts.get("sampling", {}):
        ratio = parts["sampling"]["ratio"]
        goals.append(Goal("sampling, times as fast as the released loop", ratio, at_least=3))
    return goals


def _failed(part: dict[str, Any]) -> bool:
    return "failed" in part or part.get("holds") is False


def _brief(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if not isinstance(value, dict)}


def _write(out: Path, found: dict[str, Any]) -> None:
    with atomic(out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
