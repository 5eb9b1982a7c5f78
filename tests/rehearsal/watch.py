"""What jobs hold and take while they run.

Snakemake's benchmarks look at a job twice a second for 15 s, then twice a minute, and miss the peak
of a long one. Here the kernel's own high-water mark of each process is read, five times a second.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

EVERY_S = 0.2

Used = dict[str, tuple[float, float]]


@contextmanager
def watching() -> Iterator[Used]:
    """Watch this process's descendants; after the block the mapping that it gave is filled.

    Yields
    ------
    dict of str to (float, float)
        Peak memory, MB, and CPU time, s, of the processes that write to each file: of a job of
        Snakemake's, to its log. Pages that processes share count for each.
    """
    ended, used, seen = threading.Event(), {}, {}

    def watch() -> None:
        while not ended.wait(EVERY_S):
            for process in psutil.Process().children(recursive=True):
                _look(process, seen)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield used
    finally:
        ended.set()
        thread.join()
        used.update(_by_log(seen))


def _look(process: psutil.Process, seen: dict) -> None:
    try:
        log = str(Path(f"/proc/{process.pid}/fd/1").readlink())
        status = Path(f"/proc/{process.pid}/status").read_text()
        times = process.cpu_times()
    except (OSError, psutil.Error):  # it has ended
        return
    if "VmHWM:" not in status:
        return
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    key = log, process.pid, process.create_time()
    seen[key] = max(peak_mb, seen.get(key, (0.0, 0.0))[0]), times.user + times.system


def _by_log(seen: dict) -> Used:
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (log, *_), (peak_mb, cpu_s) in seen.items():
        found[log][0] += peak_mb
        found[log][1] += cpu_s
    return {log: (peak_mb, cpu_s) for log, (peak_mb, cpu_s) in found.items()}
