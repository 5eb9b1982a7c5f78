"""The miniature as BIDS: valid raw data that can be fetched, derivatives with the known answer."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from boldvision.config import Design, Fmriprep, Miniature, Subject
from boldvision.datasets.miniature import bids, bold
from boldvision.datasets.miniature.experiment import run_designs
from boldvision.datasets.miniature.serve import serving
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import fetch, keys, s3
from boldvision.datasets.nsd.runs import TR_S
from boldvision.errors import UserError
from boldvision.signal.surface import VERTICES, read_volumes

SETTINGS = Settings(
    miniature=Miniature(seed=3, noise=1e-3),
    subjects={
        "subj01": Subject(number=1, sessions=1, rest_sessions=[1], grid=(6, 7, 5), voxels=24),
        "subj07": Subject(number=7, sessions=1, grid=(5, 6, 6), voxels=20),
    },
    design=Design(images=1650, images_per_subject=250, shared_images=50, image_px=12),
)
VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
OTHERS = ("sub-01/ses-nsd02/func/x_bold.nii.gz", "sub-01/ses-nsd01/anat/x_T2w.json")


@pytest.fixture(scope="module")
def simulation():
    return Simulation(SETTINGS)


@pytest.fixture(scope="module")
def bucket(simulation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniature") / "bucket"
    bids.write_rawdata(simulation, folder)
    return folder


@pytest.fixture(scope="module")
def derivatives(simulation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniature") / "derivatives"
    bids.write_derivatives(simulation, folder)
    return folder


@pytest.mark.survives(
    "results",
    "A default of the configuration changes that simulated derivatives were made with",
    "The module that makes them states it: it has to be edited, and they are made again",
)
def test_what_derivatives_are_made_with_is_stated():
    used = {"kind", "space", "volumes", "tr_s", "first_volume_s"}
    assert used == bids.REAL.model_fields_set
    assert Fmriprep(kind="fmriprep") == bids.REAL


def faults(dataset):
    """Codes of the errors that the BIDS validator finds, offline."""
    command = [VALIDATOR, "--format", "json", str(dataset)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    issues = json.loads(found)["issues"]["issues"]
    return {issue["code"] for issue in issues if issue["severity"] == "error"}


def test_raw_data_are_valid(bucket):
    assert faults(bucket / keys.RAWDATA) == set()


def test_the_validator_can_fail(bucket, tmp_path):
    shutil.copytree(bucket / keys.RAWDATA, tmp_path / "raw")
    (tmp_path / "raw" / "dataset_description.json").unlink()
    for path in (tmp_path / "raw").rglob("*_task-rest_*"):
        path.unlink()  # fieldmaps name these runs
    found = faults(tmp_path / "raw")
    assert "MISSING_DATASET_DESCRIPTION" in found
    assert any("INTENDED" in code for code in found), found


def test_events_are_those_of_the_design(bucket, simulation):
    for run in (1, 12):
        events = pd.read_csv(bucket / keys.raw_run(7, 1, run, "events.tsv"), sep="\t")
        column = run_designs(simulation.fields, 7)[0, run - 1]
        assert events.columns.tolist() == (
            ["onset", "duration", "trial_type", "response_time", "trial_number", "73k_id"]
        )
        np.testing.assert_allclose(events["onset"], np.flatnonzero(column) * TR_S, atol=1e-3)
        assert np.array_equal(events["73k_id"], column[column > 0])
        assert (events["duration"] == 3).all()
        assert set(events["trial_type"]) <= {0, 1}
        image = nib.load(bucket / keys.raw_run(7, 1, run, "bold.nii.gz"))
        assert image.shape[3] == 188
        assert image.header.get_zooms()[3] == pytest.approx(1.6)


def arguments(folder, address=None, **settings):
    subject = SETTINGS.subjects["subj01"].model_dump()
    settings = {"subject": subject} | settings
    argv = ["rawdata", "--subject", "subj01", "--settings", json.dumps(settings)]
    argv += ["--root", str(folder), "--ledger", str(folder / "raw.tsv")]
    argv += ["--out", str(folder / "subj01")]
    return argv + (["--endpoint", address] if address else [])


@pytest.fixture
def raw(bucket, tmp_path_factory):
    """A copy of the bucket with files that fMRIPrep is not to get."""
    raw = tmp_path_factory.mktemp("copy") / "raw"
    shutil.copytree(bucket, raw)
    for name in OTHERS:
        (raw / keys.RAWDATA / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / keys.RAWDATA / name).touch()
    return raw


def check_fetched(folder, bucket):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("README", "dataset_description.json", "participants.tsv"),
        *("task-nsdcore_bold.json", "task-nsdcore_events.json", "task-rest_bold.json", "sub-01"),
    }
    expected = sorted((bucket / keys.raw_subject(1)).rglob("*.*"))
    found = sorted((folder / "sub-01").rglob("*.*"))
    assert [path.name for path in found] == [path.name for path in expected]
    assert len(found) == 12 * 3 + 2 * 2 + 4 + 2
    for path, original in zip(found, expected, strict=True):
        assert path.read_bytes() == original.read_bytes()
        assert not path.is_symlink()


def test_fetched_raw_data_are_a_valid_dataset_of_one_subject(bucket, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 10)
    with serving(raw, "natural-scenes-dataset", [keys.RAWDATA]) as address:
        fetch.main(arguments(tmp_path, address))
    check_fetched(tmp_path / "subj01", bucket)
    assert len((tmp_path / "raw.tsv").read_text().splitlines()) == 1 + 6 + 46
    assert not (tmp_path / "subj01.partial").exists()
    assert faults(tmp_path / "subj01") == set()


@pytest.mark.parametrize("one_file_system", [True, False])
def test_an_existing_copy_is_not_linked_to(bucket, raw, tmp_path, monkeypatch, one_file_system):
    def refuse(*_):
        raise OSError("another file system")

    if not one_file_system:
        monkeypatch.setattr("boldvision.datasets.nsd.rawdata.os.link", refuse)
    fetch.main(arguments(tmp_path, raw=str(raw)))
    check_fetched(tmp_path / "subj01", bucket)
    source = raw / keys.raw_run(1, 1, 1, "bold.nii.gz")
    assert source.stat().st_nlink == (2 if one_file_system else 1)


@pytest.mark.survives(
    "files",
    "A subject's raw data lack a run or every T1w image",
    "The files are named before anything moves, not by fMRIPrep after days",
)
@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("func/*run-05_events.tsv", r"task runs: 1 of 36 files .*run-05_events\.tsv"),
        ("../ses-nsdanat/anat/*.nii.gz", "expected a T1w image, found none"),
    ],
)
def test_missing_raw_data_are_named(raw, tmp_path, gone, message):
    [path] = (raw / keys.raw_session(1, 1)).glob(gone)
    path.unlink()
    with pytest.raises(UserError, match=message):
        fetch.main(arguments(tmp_path, raw=str(raw)))
    assert not (tmp_path / "subj01.partial").exists()


def test_a_bucket_that_may_not_be_listed(raw, tmp_path):
    with (
        serving(raw, "natural-scenes-dataset", [keys.RAWDATA]) as address,
        pytest.raises(UserError, match=r"s3://other/nsddata_rawdata/ .*missing"),
    ):
        fetch.main(arguments(tmp_path, address, s3={"bucket": "other"}))


def derivative(folder, number, run):
    stem = keys.bids_run(number, 1, run) + "_space-MNI152NLin2009cAsym_desc-preproc_bold"
    return folder / f"sub-{number:02d}" / "ses-nsd01" / "func" / f"{stem}.nii.gz"


def test_derivatives_have_fmripreps_names_and_timing(derivatives):
    assert len(list(derivatives.rglob("*_bold.nii.gz"))) == 2 * 12
    path = derivative(derivatives, 7, 12)
    image = nib.load(path)
    assert image.get_data_dtype() == np.int16
    assert image.shape[3] == 188
    assert image.header.get_zooms() == pytest.approx((8, 8, 8, 1.6))
    sidecar = json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text())
    assert (sidecar["RepetitionTime"], sidecar["StartTime"]) == (1.6, 0.775)
    description = json.loads((derivatives / "dataset_description.json").read_text())
    assert "simulated" in description["GeneratedBy"][0]["Description"]


def test_every_vertex_is_in_the_volumes_and_only_the_back_responds(derivatives):
    series = read_volumes(derivative(derivatives, 1, 2), 188)
    assert series.shape == (188, VERTICES)
    assert np.isfinite(series).all()
    responds = series.std(axis=0) > 0
    assert 20 < responds.sum() < 1000
    image = nib.load(derivative(derivatives, 1, 2))
    varies = np.asarray(image.dataobj).std(axis=-1) > 0
    y = nib.affines.apply_affine(image.affine, np.argwhere(varies))[:, 1]
    assert varies.sum() == 24
    assert y.max() < -90  # mm: the occipital pole


def test_volumes_answer_at_their_own_times(derivatives, simulation):
    """Sample k lies 0.775 + 1.6 k seconds into the run, and holds the bucket's responses then."""
    voxels = simulation.voxelwise["subj01"]
    column = run_designs(simulation.fields, 1)[0, 3]
    rows = np.flatnonzero(column)
    amplitude = simulation.features[column[rows] - 1] @ voxels.weights
    image = nib.load(derivative(derivatives, 1, 4))
    places = np.unravel_index(bids.cortex_from_the_back()[:24], image.shape[:3], order="F")
    stored = np.asarray(image.dataobj)[places].T
    of_bucket = bold.run_response(rows, bold.RESPONSE_STD * amplitude, voxels.hrf)
    t, t_bucket = 0.775 + 1.6 * np.arange(188), TR_S * np.arange(226)
    s = t / t_bucket[-1]
    slow = np.stack([np.ones(188), s, np.cos(np.pi * s), np.cos(2 * np.pi * s)], axis=1)
    for voxel in range(24):
        expected = np.interp(t, t_bucket, of_bucket[:, voxel])
        design = np.column_stack([expected, slow])
        fitted, left, *_ = np.linalg.lstsq(design, stored[:, voxel], rcond=None)
        assert fitted[0] == pytest.approx(1, abs=0.1)
        assert np.sqrt(left[0] / 188) < 0.2 * expected.std()


def test_the_same_settings_give_the_same_derivatives(derivatives, simulation, tmp_path):
    bids.write_derivatives(simulation, tmp_path / "again")
    for path in sorted(derivatives.rglob("*.*")):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(derivatives)
            assert again.read_bytes() == path.read_bytes()
