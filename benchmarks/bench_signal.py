"""Files of volumes to clean series, against decompression alone and against nilearn.

    python benchmarks/bench_signal.py [OUT.json]

simulates files of NSD's true size in a temporary folder (0.6 GB), then prints and writes (to
benchmarks/signal.json) seconds of the processor and peak memory of each reader, of isal that
decompresses the same file and of the standard library that does; a session of 12 runs on one and on
two cores, seconds of the clock; and the cleaning of one run against nilearn.signal.clean.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
from goals import Goal, report
from isal import igzip
from nilearn.signal import clean as nilearn_clean
from true_run import MNI, MNI_AFFINE, VOXELS, region, write_volumes

from boldvision.config import NsdPrep
from boldvision.datasets.nsd.betas import read_betas, zscore
from boldvision.datasets.nsd.prepare import prepare_session
from boldvision.datasets.nsd.runs import FILE_VOLUMES, TASK_RUNS, TR_S, VOLUMES
from boldvision.signal.clean import clean
from boldvision.signal.surface import read_volumes
from boldvision.signal.volumes import read_masked

CUTOFF_S = 128.0
REPEATS = 3
NILEARN = {
    "cosine": {"detrend": False, "filter": "cosine", "high_pass": 1 / CUTOFF_S},
    "linear": {"detrend": True, "high_pass": None},
}
BETAS = 750
MNI_VOLUMES = 94  # half a run


def clean_run(path: Path) -> object:
    """A run as the `prepare` stage reads it."""
    series = read_masked(path, region(), VOLUMES, FILE_VOLUMES, TR_S)
    return clean(series, "cosine", CUTOFF_S, TR_S)


def clean_betas(path: Path) -> object:
    """A session's betas as the `betas` stage reads them."""
    return zscore(read_betas(path, region()))


def clean_fmriprep(path: Path) -> object:
    """A run of fMRIPrep's volumes as the `prepare_fmriprep` stage reads it."""
    return clean(read_volumes(path, MNI_VOLUMES), "cosine", CUTOFF_S, TR_S)


def decompress(path: Path, library: ModuleType = igzip) -> None:
    """Read a gzip file to its end, where its checksum is."""
    with library.open(path) as file:
        while file.read(1 << 20):
            pass


READERS: dict[str, tuple[Callable[[Path], object], dict]] = {
    "run": (clean_run, {"volumes": FILE_VOLUMES}),
    "betas": (clean_betas, {"volumes": BETAS}),
    "fmriprep": (
        clean_fmriprep,
        {"volumes": MNI_VOLUMES, "grid": MNI, "affine": MNI_AFFINE, "dtype": "<f4"},
    ),
}


def seconds(function: Callable[[], object], clock: Callable[[], float]) -> float:
    """Of one call."""
    start = clock()
    function()
    return clock() - start


def best(*functions: Callable[[], object], clock: Callable[[], float]) -> list[float]:
    """Seconds of each function, the best of alternating calls."""
    times = [[seconds(function, clock) for function in functions] for _ in range(REPEATS)]
    return [min(column) for column in zip(*times, strict=True)]


def resident_mb(which: str) -> float:
    """Memory of this process, MB: now (`VmRSS`) or at most (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status[which].split()[0]) * 1024 / 1e6


def peak_resident_mb(name: str, path: Path) -> float:
    """Most memory of a process of its own that reads one file, beyond what it had before, MB."""
    region()
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    READERS[name][0](path)
    return resident_mb("VmHWM") - before


def against_decompression(name: str, path: Path) -> dict[str, float]:
    """Seconds of the processor and peak memory of a reader, and what decompression alone takes."""
    read = READERS[name][0]
    ours, isal, standard = best(
        lambda: read(path),
        lambda: decompress(path),
        lambda: decompress(path, gzip),
        clock=time.process_time,
    )
    with get_context("spawn").Pool(1) as pool:
        peak = pool.apply(peak_resident_mb, (name, path))
    return {
        "boldvision_s": ours,
        "isal_s": isal,
        "gzip_s": standard,
        "time_ratio": ours / isal,
        "peak_mb": peak,
        "compressed_mb": path.stat().st_size / 1e6,
    }


def session(run: Path, folder: Path) -> dict[str, float]:
    """Seconds of the clock of a session's 12 runs on one core and on two."""
    out, quality = folder / "out.npy", folder / "out.json"

    def prepare(threads: int) -> None:
        runs, preprocessing = [run] * TASK_RUNS, NsdPrep(kind="nsd_prep", detrend="cosine")
        prepare_session(runs, region(), preprocessing, out, quality, threads)

    one, two = best(lambda: prepare(1), lambda: prepare(2), clock=time.perf_counter)
    return {"one_thread_s": one, "two_threads_s": two, "time_ratio": two / one}


def peak_mb(function: Callable[[], object]) -> float:
    """Most memory allocated during one call beyond what was there before, MB."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def against_nilearn(series: np.ndarray, detrend: str) -> dict[str, float]:
    """Seconds of the clock, peak memory and largest difference of the results."""

    def ours() -> np.ndarray:
        return clean(series, detrend, CUTOFF_S, TR_S)[0]

    def theirs() -> np.ndarray:
        return nilearn_clean(series, t_r=TR_S, standardize="zscore_sample", **NILEARN[detrend])

    difference = float(np.abs(ours() - theirs()).max())
    our_s, their_s = best(ours, theirs, clock=time.perf_counter)
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


def measured() -> dict[str, dict[str, float]]:
    """Everything, by what was done."""
    results = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for reader, (_, volumes) in READERS.items():
            path = folder / f"{reader}.nii.gz"
            write_volumes(path, **volumes)
            results[reader] = against_decompression(reader, path)
        results["session"] = session(folder / "run.nii.gz", folder)
    series = 600 + 30 * np.random.default_rng(0).standard_normal((VOLUMES, VOXELS), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return results | {detrend: against_nilearn(series, detrend) for detrend in NILEARN}


def main(out: Path) -> None:
    """Measure, print and write."""
    results = measured()
    for part, values in results.items():
        print(part, *(f"{name} {value:.3g}" for name, value in values.items()), sep="\n  ")
    goals = [
        Goal(f"{reader}: time over isal's", results[reader]["time_ratio"], at_most=1.3)
        for reader in READERS
    ]
    goals += [
        *(
            Goal(f"{name}: peak memory, MB", results[name]["peak_mb"], at_most=110)
            for name in READERS
        ),
        Goal("session: time on two cores over one", results["session"]["time_ratio"], at_most=0.65),
    ]
    goals += [
        Goal(f"{detrend}: time over nilearn's", results[detrend]["time_ratio"], at_most=0.5)
        for detrend in NILEARN
    ]
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    content = {"shape": [VOLUMES, VOXELS], **machine, **results, "goals": report(goals)}
    out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("signal.json"))
