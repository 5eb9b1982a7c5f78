"""An existing copy of the bucket, as small as it can be, and the command lines of every part."""

import gzip
import json
from pathlib import Path

from fetch_data import DESIGN, SUBJECT

from boldvision.datasets.nsd import fetch, keys

PARTS = list(fetch.PARTS)
WITH_OUT = ("session", "betas", "rawdata", "annotations")


def argv(part: str, root: Path, **settings) -> list[str]:
    """Command line of a part whose folder, if it takes one, is ``root/out``."""
    settings = {"subject": SUBJECT, "design": DESIGN.model_dump()} | settings
    words = [part, "--settings", json.dumps(settings), "--root", str(root)]
    words += ["--ledger", str(root / f"{part}.tsv")]
    whole = ("experiment", "stimulus_table", "annotations")
    words += ["--subject", "subj01"] if part not in whole else []
    words += ["--session", "1"] if part in ("session", "betas") else []
    words += ["--out", str(root / "out")] if part in WITH_OUT else []
    return words + (["--kind", "betas_x", "--file", "nii.gz"] if part == "betas" else [])


def write_copy(folder: Path) -> Path:
    """Write a session's files of subj01, its raw data and its betas; their bytes are their keys."""
    files = [keys.expdesign(), keys.roi("subj01"), keys.betas("subj01", 1, "betas_x")]
    for file_run in range(1, 15):
        files += [keys.design("subj01", 1, file_run), keys.timeseries("subj01", 1, file_run)]
    files += [f"{keys.raw_subject(1)}ses-nsdanat/anat/sub-01_T1w.nii.gz", f"{keys.RAWDATA}README"]
    for task_run in range(1, 13):
        for suffix in ("bold.nii.gz", "bold.json", "events.tsv"):
            files.append(keys.raw_run(1, 1, task_run, suffix))
    for key in files:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        content = key.encode()
        (folder / key).write_bytes(gzip.compress(content) if key.endswith(".gz") else content)
    return folder
