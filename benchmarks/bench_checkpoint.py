"""What a checkpoint costs a training in time, and a resumed one in memory.

    python benchmarks/bench_checkpoint.py [OUT.json]

prints and writes (to benchmarks/checkpoint.json), for a state of 1 GB on the disk of the temporary
folder and steps that wait most of their time, as for a card: the seconds that a state takes to
write while training waits, those that training loses to one that is written beside it, and the
memory that a process has for itself alone while it reads or resumes from a state, or reads latents.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import torch
from goals import Goal, report
from torch import nn

from boldvision.hdf5 import write_text
from boldvision.targets.base import TargetFile, digest
from boldvision.training.checkpoint import Checkpoint, Progress, _read

WIDTH, LAYERS = 4096, 5
"""Of square layers: parameters and two moments are 1.0 GB."""
STATE_BYTES = 3 * 4 * LAYERS * WIDTH * (WIDTH + 1)
IMAGES = 2500
REPEATS = 2


class Network(nn.Sequential):
    """All parameters are trained."""

    def __init__(self):
        super().__init__(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))

    def trained(self) -> dict[str, torch.Tensor]:
        """Parameters by name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}


def training(folder: Path) -> Checkpoint:
    """Checkpoint of a network of one process."""
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters())
    alone = SimpleNamespace(
        distributed_type=SimpleNamespace(value="NO"),
        is_main_process=True,
        scaler=None,
        unwrap_model=lambda model: model,
    )
    return Checkpoint(folder, alone, network, optimizer, 0.0)  # type: ignore[arg-type]


def new_state(folder: Path) -> Checkpoint:
    """A checkpoint whose optimizer has moments."""
    checkpoint = training(folder)
    for parameter in checkpoint.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    checkpoint.optimizer.step()
    checkpoint.optimizer.zero_grad()
    return checkpoint


def seconds(checkpoint: Checkpoint, steps: int, how: str) -> float:
    """Of steps, among them a state that is saved, ``beside`` or ``waiting``, or ``none``."""
    numbers = torch.randn(200, 200)
    start = time.perf_counter()
    for step in range(steps):
        numbers @ numbers
        time.sleep(0.02)
        if step == 0 and how != "none":
            checkpoint.save(Progress(1))
            if how == "waiting":
                checkpoint._finish()
    taken = time.perf_counter() - start
    checkpoint._finish()
    return taken


def time_lost(folder: Path) -> dict[str, float]:
    """Seconds that a state takes from training; the best of some."""
    checkpoint = new_state(folder)
    one = min(seconds(checkpoint, 50, "none") for _ in range(REPEATS)) / 50
    saved = time.perf_counter()
    checkpoint.save(Progress(1))
    stopped = time.perf_counter() - saved
    checkpoint._finish()
    steps = int(1.5 * (time.perf_counter() - saved) / one)  # go on longer than the writing
    taken = {how: [] for how in ("none", "waiting", "beside")}
    for _ in range(REPEATS):
        for how, all_of_it in taken.items():
            all_of_it.append(seconds(checkpoint, steps, how))
    best = {how: min(all_of_it) for how, all_of_it in taken.items()}
    return {
        "waiting_s": best["waiting"] - best["none"],
        "beside_s": best["beside"] - best["none"],
        "stopped_s": stopped,
    }


def own_bytes() -> int:
    """Memory of this process that no other can share: pages of no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def peak(function) -> int:
    """Most bytes that this process has for itself during a call, more than before."""
    before, most, ended = own_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.005):
            most = max(most, own_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    kept = function()
    most = max(most, own_bytes())
    ended.set()
    watcher.join()
    del kept
    return most - before


def read(folder: Path, mapped: bool) -> object:
    """A whole state, every page of it touched."""
    (path,) = folder.glob("step-*.pt")
    state = _read(path) if mapped else torch.load(path, map_location="cpu", weights_only=True)
    for values in [state["model"], *state["optimizer"]["state"].values()]:
        for tensor in values.values():
            tensor.sum()
    return state


def resume(folder: Path) -> object:
    """A network and an optimizer with the state of a file."""
    checkpoint = training(folder)
    checkpoint.load()
    return checkpoint


def latents(folder: Path) -> object:
    """A target file, compared with its digest, of which a batch is read."""
    target = TargetFile(folder / "latents.h5")
    return target, target["mean"][:40]


MEASURED = {
    "read_mapped": lambda folder: read(folder, True),
    "read_in_full": lambda folder: read(folder, False),
    "resume": resume,
    "latents": latents,
}


def in_its_own_process(name: str, folder: Path) -> int:
    """What one of `MEASURED` takes."""
    command = [sys.executable, __file__, "--measure", name, str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_latents(folder: Path) -> int:
    """Posteriors of a quarter of NSD's images of a subject; their bytes."""
    values = {n: np.zeros((IMAGES, 4, 64, 64), np.float16) for n in ("logvar", "mean")}
    with h5py.File(folder / "latents.h5", "w") as file:
        file["image_id"] = np.arange(1, IMAGES + 1)
        for name, array in values.items():
            file[name] = array
        write_text(file, "sha256", digest(file["image_id"][:], values))
    return sum(array.nbytes for array in values.values())


def main(out: Path) -> None:
    """Measure on one thread, print and write."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lost = time_lost(folder)
        latents_bytes = write_latents(folder)
        taken = {name: in_its_own_process(name, folder) for name in MEASURED}
    for title, values in ({"state_bytes": STATE_BYTES} | lost | taken).items():
        print(f"{title} {values:.4g}")
    goals = report(
        [
            Goal("time lost / time to write", lost["beside_s"] / lost["waiting_s"], at_most=0.3),
            Goal("own memory, read / state", taken["read_mapped"] / STATE_BYTES, at_most=0.05),
            Goal("own memory, resumed / state", taken["resume"] / STATE_BYTES, at_most=1.1),
            Goal("own memory, latents / file", taken["latents"] / latents_bytes, at_most=0.05),
        ]
    )
    results = {"state_bytes": STATE_BYTES, **lost, "own_bytes": taken, "goals": goals}
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        torch.set_num_threads(1)
        print(peak(lambda: MEASURED[sys.argv[2]](Path(sys.argv[3]))))
    else:
        main(
            Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("checkpoint.json")
        )
