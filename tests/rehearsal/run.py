"""Run all rules of config/nsd.yaml that need no real data, container or GPU: what does each take?

``make rehearsal``; what is there already is not made again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from boldvision.paths import Paths
from boldvision.runs_table import read_runs
from tests.rehearsal.simulate import CONFIGS, ROOT, rehearsed
from tests.rehearsal.watch import watching

COLUMNS = ["rule", "jobs", "wall_s", "cpu_s", "peak_mb", "disk_mb"]
SIMULATED = ("resources/rehearsal_copy", "resources/generators/rehearsal")

REPORTS = "tables and figures"
"""What the row is called of all rules of a scope, whose benchmarks lie in the scope's folder."""

MEM_MB = 20000
"""Of all jobs that run at a time, as their rules state it."""

DECODERS = ("dynadiff", "mean_image")
"""The compared ones are tried at true shapes stage by stage, in tests (BOLDVISION_SLOW=1)."""

HEAVY = ("encode_target", "mean_image_train", "dynadiff_train", "reconstruct", "evaluate")
"""Rules whose jobs have all cores, where a profile gives them a GPU."""


def main(arguments: Sequence[str]) -> int:
    """Simulate, run Snakemake with `arguments`, report; return Snakemake's exit code."""
    os.chdir(ROOT)
    settings = rehearsed()
    paths = Paths(settings.dataset)
    benchmarks, out = Path(paths.benchmarks), Path(paths.results, "rehearsal")
    out.mkdir(parents=True, exist_ok=True)
    write_runs(Path(str(settings.runs_table)))
    with watching() as used:
        simulate(Path(paths.logs, "simulate.log"), benchmarks / "simulate.tsv")
        code = subprocess.run(snakemake(*arguments)).returncode
    earlier, used = out / "used.json", {os.path.relpath(log): of for log, of in used.items()}
    if earlier.exists():
        used = json.loads(earlier.read_text()) | used
    earlier.write_text(json.dumps(used))
    listed = subprocess.run(snakemake("--summary"), stdout=subprocess.PIPE, text=True, check=True)
    disk_mb = disk_of(listed.stdout) | {"simulate": size_mb(SIMULATED)}
    table = by_rule(benchmarks, paths.logs, used, disk_mb, settings.scope)
    table.to_json(out / "rehearsal.json", orient="records", indent=1)
    (out / "rehearsal.md").write_text(markdown(table))
    print(markdown(table))
    return code


def write_runs(table: Path) -> None:
    """Write the runs table: the rows of the decoders that are rehearsed."""
    rows = [read_runs(ROOT / "boldvision" / "decoders" / name / "runs.tsv") for name in DECODERS]
    table.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(rows).to_csv(table, sep="\t", index=False)


def simulate(log: Path, benchmark: Path) -> None:
    """Write what the rules read; nothing if it is there."""
    if all(Path(place).exists() for place in SIMULATED):
        return
    for file in (log, benchmark):
        file.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with log.open("w") as file:
        command = [sys.executable, "-m", "tests.rehearsal.simulate"]
        subprocess.run(command, check=True, stdout=file)
    benchmark.write_text(f"s\n{time.monotonic() - begun}\n")


def snakemake(*arguments: str) -> list[str]:
    """Its command: jobs that are large have all cores, and do not run side by side."""
    cores = str(os.cpu_count() or 1)
    return [
        *(sys.executable, "-m", "snakemake", "--cores", cores, "--keep-going"),
        *("--resources", f"mem_mb={MEM_MB}"),
        *("--set-threads", *(f"{rule}={cores}" for rule in HEAVY)),
        *("--configfile", *map(str, CONFIGS)),
        *arguments,
    ]


def by_rule(
    benchmarks: Path,
    logs: str,
    used: Mapping[str, Sequence[float]],
    disk_mb: Mapping[str, float],
    scope: str,
) -> pd.DataFrame:
    """What each rule took; of its memory, what its largest job did.

    Parameters
    ----------
    benchmarks
        Folder of Snakemake's, ``RULE.tsv`` or ``RULE/….tsv``; the logs are called the same.
    logs
        Their folder.
    used
        Peak memory, MB, and CPU time, s, by log.
    disk_mb
        By rule.
    scope
        Whose tables and figures are made.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, rules in the order in which the first job of each ended.
    """
    jobs = []
    for file in sorted(benchmarks.rglob("*.tsv"), key=lambda file: file.stat().st_mtime):
        name = file.relative_to(benchmarks)
        peak_mb, cpu_s = used.get(str(Path(logs, name).with_suffix(".log")), (None, None))
        wall_s = float(pd.read_csv(file, sep="\t")["s"].iloc[-1])
        rule = REPORTS if name.parts[0] == scope else name.parts[0].removesuffix(".tsv")
        jobs.append({"rule": rule, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb})
    groups = pd.DataFrame(jobs).astype({"cpu_s": float, "peak_mb": float})
    groups = groups.groupby("rule", sort=False)
    table = groups[["wall_s", "cpu_s"]].sum(min_count=1)
    table["peak_mb"], table["jobs"] = groups["peak_mb"].max(), groups.size()
    others = sum(size for rule, size in disk_mb.items() if rule not in table.index)
    disk_mb = {REPORTS: others, **disk_mb}
    table["disk_mb"] = [disk_mb.get(rule, 0.0) for rule in table.index]
    return table.reset_index()[COLUMNS]


def disk_of(summary: str) -> dict[str, float]:
    """MB on disk of every rule's outputs, from what ``snakemake --summary`` printed."""
    head, *lines = [line.split("\t") for line in summary.splitlines() if "\t" in line]
    files: dict[str, list[str]] = {}
    for line in lines:
        found = dict(zip(head, line, strict=False))
        files.setdefault(found["rule"], []).append(found["output_file"])
    return {rule: size_mb(outputs) for rule, outputs in files.items()}


def size_mb(places: Iterable[str]) -> float:
    """Of files in folders, or alone; links and holes take none."""
    files = [file for place in places for file in (Path(place), *Path(place).rglob("*"))]
    own = [file for file in files if file.is_file() and not file.is_symlink()]
    return sum(file.stat().st_blocks * 512 / 1e6 for file in own)


def markdown(table: pd.DataFrame) -> str:
    """The table, and what all rules took together."""
    total: dict[str, Any] = table.drop(columns=["rule", "peak_mb"]).sum().to_dict()
    total |= {"rule": "all", "peak_mb": table["peak_mb"].max()}
    lines = ["| rule | jobs | wall time, s | CPU time, s | peak memory, GB | on disk, MB |"]
    lines.append("|" + "---|" * len(COLUMNS))
    for row in [*table.to_dict("records"), total]:
        cells = f"{row['wall_s']:.0f}", f"{row['cpu_s']:.0f}", f"{row['peak_mb'] / 1000:.1f}"
        measured = " | ".join(cells).replace("nan", "–")
        lines.append(f"| {row['rule']} | {row['jobs']:.0f} | {measured} | {row['disk_mb']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
