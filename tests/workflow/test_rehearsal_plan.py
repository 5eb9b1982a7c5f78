"""What `make rehearsal` would run: every stage of the real configuration, if it can be had."""

import re
from pathlib import Path

import pytest

from tests.rehearsal.run import CONFIGS, write_runs

ELSEWHERE = {"download_rawdata", "run_fmriprep", "download_generator", "dynadiff_official_convert"}
"""Rules of stages that need a container, a network or the authors' weights."""

STAGES = {
    "download_experiment": 1,
    "download_subject": 1,
    "download_session": 1,
    "download_betas_session": 1,
    "download_images": 1,
    "select_voxels": 1,
    "prepare_session": 1,
    "prepare_betas_session": 1,
    "prepare_fmriprep_session": 1,
    "list_trials": 1,
    "encode_target": 1,
    "mean_image_train": 1,
    "dynadiff_train": 5,  # tables 1, 4 and 5, and two windows of the time-resolved split
    "reconstruct": 8,
    "evaluate": 8,
}


@pytest.fixture
def place(tmp_path):
    """A folder with what is simulated, empty: enough for a plan."""
    for folder in ("bucket", "derivatives"):
        (tmp_path / "resources" / "rehearsal_copy" / folder).mkdir(parents=True)
    for part in ("image_unet", "vae"):
        folder = tmp_path / "resources" / "generators" / "rehearsal" / part
        folder.mkdir(parents=True)
        (folder / "diffusion_pytorch_model.safetensors").touch()
    write_runs(tmp_path / "results" / "rehearsal" / "runs.tsv")
    return tmp_path


def test_every_stage_is_rehearsed(snakemake, place):
    files = map(str, CONFIGS)
    options = ["--dry-run", "--quiet", "rules", "--nolock", "--configfile", *files]
    printed = snakemake(*options, place=place)
    table = printed.split("Job stats:")[1].split("\n\n")[0]
    found = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    assert STAGES.items() <= found.items()
    assert not ELSEWHERE & found.keys()
    assert Path(place / "resources" / "rehearsal_copy" / "bucket").exists()
