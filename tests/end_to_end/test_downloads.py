"""After `snakemake downloads` nothing needs a network: the rest runs where there is none at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import ROOT, jobs
from test_kill import prepare_folder

OFFLINE = ["unshare", "--map-root-user", "--net", "--"]
"""Words before a command that runs without any network, not even loopback."""
RAW = "resources/killed/nsddata_timeseries/ppdata/subj01/func1pt8mm/timeseries/session01"
SCORES = "results/killed/metrics/dynadiff/subj01/main/seed-0/subj01/single_trial.all.json"
THIN = {
    "scopes": {"demo": {"items": ["table_1"], "known_answer": False}},
    "runs": {"dynadiff": {"training": {"steps": 2, "warmup_steps": 1}}},
}


def snakemake(folder, *arguments, before=()):
    """Run Snakemake in a folder and return what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = ["--cores", "2", "--configfile", "thin.yaml", "--", *arguments]
    done = subprocess.run(
        [*before, *command, *options], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """A folder in which `downloads` has run."""
    if not shutil.which("unshare") or subprocess.run([*OFFLINE, "true"]).returncode:
        pytest.skip("needs network namespaces: unshare --map-root-user --net")
    folder = tmp_path_factory.mktemp("fetched")
    prepare_folder(folder)
    (folder / "thin.yaml").write_text(yaml.safe_dump(THIN))
    snakemake(folder, "downloads")
    return folder


@pytest.mark.survives(
    "networks",
    "Compute nodes have no network at all",
    "`snakemake downloads` fetches all that needs one; the rest runs under `unshare --net`",
)
def test_the_rest_needs_no_network(fetched):
    assert len([*(fetched / RAW).glob("*.nii.gz")]) == 12
    assert "Nothing to be done" in snakemake(fetched, "downloads")
    done = jobs(snakemake(fetched, SCORES, before=OFFLINE))
    assert done["evaluate"] == done["prepare_session"] == 1
    assert not [rule for rule in done if rule.startswith(("download", "fetch"))]
    assert (fetched / SCORES).is_file()
    assert not (fetched / RAW).exists()
    assert "Nothing to be done" in snakemake(fetched, "downloads")
