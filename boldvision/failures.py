"""What is said once, at the end, of the jobs that failed: the rule of each, and its log."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

MOST = 20
"""Jobs that are listed at most."""

EVENT = re.compile(
    r"^Error in rule (?P<rule>\S+?)[,:].*\n(?P<about>(?: {4}.*\n)*)"
    r"|^Finished jobid: (?P<finished>\d+)",
    re.MULTILINE,
)
"""What Snakemake writes of a try that failed, and of a job that is done."""


def tell(logs: Iterable[str]) -> None:
    """Print the failed jobs of a run of Snakemake on stderr.

    Parameters
    ----------
    logs
        Snakemake's own logs of the run: ``log`` in an ``onerror`` handler.
    """
    texts = [Path(log).read_text(errors="replace") for log in logs if Path(log).is_file()]
    if message := what_failed("".join(texts)):
        print(message, file=sys.stderr)


def what_failed(text: str) -> str:
    """Name the jobs that failed at their last try; nothing where the log tells of none.

    Parameters
    ----------
    text
        Snakemake's log.
    """
    failed: dict[str, str] = {}
    for event in EVENT.finditer(text):
        if event["finished"]:
            failed.pop(event["finished"], None)
            continue
        about = event["about"]
        job = re.search(r"^ +jobid: (\d+)$", about, re.MULTILINE)
        log = re.search(r"^ +log: (.*?)(?: \(check log file.*)?$", about, re.MULTILINE)
        key = job[1] if job else str(event.start())
        failed[key] = f"  {event['rule']}: {log[1] if log else 'it has no log'}"
    if not failed:
        return ""
    lines = ["What failed, and the log that says why:", *list(failed.values())[:MOST]]
    if len(failed) > MOST:
        lines.append(f"  and {len(failed) - MOST} more")
    return "\n".join([*lines, "With the cause mended, the same command goes on from here."])
