"""One run of true size, with the true region of subj01."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from nilearn.signal import clean as nilearn_clean

from boldvision.datasets.nsd.roi import read_roi
from boldvision.datasets.nsd.runs import TR_S
from boldvision.signal.region import Voxels
from tests.unit.signal_files import SHARED, write_large_run

ROI = SHARED / "nsd_real" / "subj01_nsdgeneral.nii.gz"

CLEAN_AND_REPORT_PEAK = """
import json, sys
import numpy as np
from boldvision.datasets.nsd.runs import FILE_VOLUMES, TR_S, VOLUMES
from boldvision.signal.region import Voxels
from boldvision.signal.clean import clean
from boldvision.signal.volumes import read_masked
run, voxels, out = sys.argv[1:]
raw = read_masked(run, Voxels.load(voxels), VOLUMES, FILE_VOLUMES, TR_S)
series, _ = clean(raw, "cosine", 128.0, TR_S)
np.save(out, series)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps(int(status["VmHWM"].split()[0]) / 1024))
"""

pytestmark = [
    pytest.mark.skipif(not ROI.exists(), reason="needs the real region of interest"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux"),
]


@pytest.fixture(scope="module")
def region() -> Voxels:
    return read_roi(ROI, 15724, (81, 104, 83))


def test_nsdgeneral_of_subj01(region):
    assert len(region.index) == 15724
    assert region.index[:3].tolist() == [105374, 105455, 105456]
    np.testing.assert_allclose(region.affine[:3, 3], [-72, -92.7, -73.8], atol=1e-4)


def test_full_run_is_cleaned_as_by_nilearn_in_little_memory(region, tmp_path):
    random = np.random.default_rng(0)
    walk = np.cumsum(random.standard_normal((226, 1)), axis=0)
    noise = random.standard_normal((226, len(region.index)), np.float32)
    series = (600 + 10 * walk + 30 * noise).astype(np.int16)
    run, voxels, out = tmp_path / "run.nii.gz", tmp_path / "voxels.npz", tmp_path / "out.npy"
    write_large_run(run, region, series)
    region.save(voxels)

    done = subprocess.run(
        [sys.executable, "-c", CLEAN_AND_REPORT_PEAK, str(run), str(voxels), str(out)],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    # Peak of this process alone; ru_maxrss would include the parent's at the time of the fork.
    assert json.loads(done.stdout) < 500

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = nilearn_clean(
            series[:225].astype(np.float64),
            detrend=False,
            filter="cosine",
            high_pass=1 / 128,
            t_r=TR_S,
            standardize="zscore_sample",
        )
    assert np.abs(np.load(out) - expected).max() < 1e-4
