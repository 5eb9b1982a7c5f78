"""How fast the host feeds a training at true shapes, on one core: read, drawn, ready to be copied.

    python benchmarks/bench_feed.py [OUT.json]

simulates four sessions of subj01 in a temporary folder (0.7 GB) and prints and writes (to
benchmarks/feed.json) samples per second of one process, with the files in memory and with none of
them. The alternative draws for the whole global batch, as all of eight
processes would.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from goals import Goal, report

from boldvision.config import NsdPrep, Window
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.decoders.dynadiff.settings import Training
from boldvision.generators.pretrain import new_scheduler
from boldvision.trials.windows import Windows, with_place

SESSIONS, RUNS, VOLUMES, VOXELS = 4, 12, 225, 15724
LATENT = (4, 64, 64)
PROCESSES, DEVICE_BATCH = 8, 40
STEPS = 10


def simulated(folder: Path) -> tuple[dict[int, Path], pd.DataFrame]:
    """Clean series of the sessions, and a trial table: 62 or 63 trials in each run."""
    random = np.random.default_rng(0)
    files = {session: folder / f"session{session:02d}.npy" for session in range(1, SESSIONS + 1)}
    run = random.standard_normal((VOLUMES, VOXELS), np.float32)
    for path in files.values():
        np.save(path, np.broadcast_to(run, (RUNS, VOLUMES, VOXELS)))
    trials = pd.DataFrame(
        [
            {"session": session, "task_run": run, "onset_s": 12.0 + 4 * trial}
            for session in files
            for run in range(1, RUNS + 1)
            for trial in range(62)
        ]
    )
    return files, with_place(trials.assign(trial=np.arange(len(trials)), image_id=1))


class Latents:
    """Posteriors of as many images as there are trials, in memory as a training has them."""

    def __init__(self, n: int):
        random = np.random.default_rng(0)
        values = random.standard_normal((n, *LATENT), np.float32).astype(np.float16)
        self.values = {"mean": values, "logvar": values}

    def rows(self, image_ids: np.ndarray) -> np.ndarray:
        """One image per trial."""
        return np.arange(len(image_ids))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]


def objective(files: dict[int, Path], trials: pd.DataFrame) -> DiffusionObjective:
    """That of Dynadiff on subj01, at the paper's batch."""
    windows = Windows(
        files, trials, Window(start_s=3.0, n_tr=6), NsdPrep(kind="nsd_prep", detrend="cosine")
    )
    vae = SimpleNamespace(config=SimpleNamespace(scaling_factor=0.18215))
    generator = SimpleNamespace(scheduler=new_scheduler(), latent_shape=LATENT, vae=vae)
    training = Training(learning_rate=1e-3, batch_size=PROCESSES * DEVICE_BATCH)
    latents = {"subj01": Latents(len(windows))}
    return DiffusionObjective({"subj01": windows}, latents, generator, training, seed=0)


def forget(files: dict[int, Path]) -> None:
    """Drop the files from the system's memory."""
    for path in files.values():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def samples_per_s(step: Callable[[int], object]) -> float:
    """Of one process; `step` makes its share."""
    start = time.perf_counter()
    for number in range(STEPS):
        step(number)
    return STEPS * DEVICE_BATCH / (time.perf_counter() - start)


def measure(folder: Path) -> dict[str, float]:
    """Samples per second, cold, warm, and with the draws of the whole batch."""
    files, trials = simulated(folder)
    forget(files)
    own = slice(0, DEVICE_BATCH)
    feeding = objective(files, trials)
    cold = samples_per_s(lambda step: feeding.batch(step, own))
    for session in files.values():
        session.read_bytes()
    everyone = np.arange(PROCESSES * DEVICE_BATCH)

    def whole(step: int) -> None:
        feeding.batch(step, own)
        feeding._draw(step, everyone[DEVICE_BATCH:])

    warm = samples_per_s(lambda step: feeding.batch(step, own))
    return {
        "warm_samples_per_s": warm,
        "cold_samples_per_s": cold,
        "whole_batch_samples_per_s": samples_per_s(whole),
    }


def main(out: Path) -> None:
    """Measure on one thread, print and write."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    for name, value in found.items():
        print(f"{name} {value:.4g}")
    goals = [
        Goal("samples/s of one process, warm", found["warm_samples_per_s"], at_least=500),
        Goal(
            "speed against drawing for the whole batch",
            found["warm_samples_per_s"] / found["whole_batch_samples_per_s"],
            at_least=1.5,
        ),
    ]
    out.write_text(json.dumps(found | {"goals": report(goals)}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("feed.json"))
