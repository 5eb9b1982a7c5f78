"""Stage `prepare_fmriprep`: fMRIPrep's files of a session -> clean series on fsaverage5."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from config_data import values_of

from boldvision.config import FmriprepJob
from boldvision.config.load import load_config
from boldvision.datasets.nsd import prepare_fmriprep
from boldvision.errors import UserError
from boldvision.jobs import Jobs
from boldvision.signal.clean import clean
from boldvision.signal.surface import VERTICES, read_volumes

VOLUMES = 12
SUBJECT = {"number": 2, "sessions": 1, "grid": [2, 2, 2], "voxels": 4}
GRID = (19, 24, 18)
AFFINE = np.array([[8.0, 0, 0, -72], [0, 8, 0, -108], [0, 0, 8, -52], [0, 0, 0, 1]])
TIMING = {"RepetitionTime": 1.6, "StartTime": 0.775, "SliceTimingCorrected": True}
MNI = "space-MNI152NLin2009cAsym_desc-preproc_bold"


def func(folder):
    path = folder / "derivatives" / "sub-02" / "ses-nsd01" / "func"
    path.mkdir(parents=True, exist_ok=True)
    return path


def stem(run):
    return f"sub-02_ses-nsd01_task-nsdcore_run-{run:02d}"


def arguments(folder, session=1, **preprocessing):
    preprocessing = {"kind": "fmriprep", "volumes": VOLUMES} | preprocessing
    settings = {"subject": SUBJECT, "preprocessing": preprocessing}
    return [
        *("--derivatives", str(folder / "derivatives"), "--session", str(session)),
        *("--settings", json.dumps(settings)),
        *("--out", str(folder / "out.npy"), "--quality", str(folder / "out.json")),
    ]


@pytest.fixture
def session(tmp_path):
    """Twelve runs that differ; the front of the brain is empty."""
    for run in range(1, 13):
        data = np.random.default_rng(run).normal(600, 30, (*GRID, VOLUMES)).astype(np.int16)
        data[:, 14:] = 0
        nib.save(nib.Nifti1Image(data, AFFINE), func(tmp_path) / f"{stem(run)}_{MNI}.nii.gz")
        (func(tmp_path) / f"{stem(run)}_{MNI}.json").write_text(json.dumps(TIMING))
    return tmp_path


def test_writes_the_task_runs_in_order(session):
    prepare_fmriprep.main(arguments(session, cutoff_s=19.0))
    series = np.load(session / "out.npy", mmap_mode="r")
    assert series.shape == (12, VOLUMES, VERTICES)
    assert series.dtype == np.float16
    for run in (1, 12):
        raw = read_volumes(func(session) / f"{stem(run)}_{MNI}.nii.gz", VOLUMES)
        expected, _ = clean(raw, "cosine", 19.0, 1.6)
        np.testing.assert_array_equal(series[run - 1], expected.astype(np.float16))
    assert {path.name for path in session.iterdir()} == {"derivatives", "out.npy", "out.json"}


def test_reports_the_quality_of_each_run(session):
    prepare_fmriprep.main(arguments(session))
    runs = json.loads((session / "out.json").read_text())["runs"]
    assert [run["task_run"] for run in runs] == list(range(1, 13))
    assert runs[11]["file"] == f"{stem(12)}_{MNI}.nii.gz"
    assert 1000 < runs[0]["constant"] < VERTICES / 2
    assert runs[0]["nonfinite"] == 0


def test_vertices_outside_the_volumes_are_zero_and_counted(session):
    for path in func(session).glob("*.nii.gz"):
        nib.save(nib.Nifti1Image(nib.load(path).dataobj[:, :, 6:], AFFINE), path)
    prepare_fmriprep.main(arguments(session, dtype="float32"))
    [first, *_] = json.loads((session / "out.json").read_text())["runs"]
    assert first["nonfinite"] > 1000
    series = np.load(session / "out.npy")
    assert np.isfinite(series).all()


def test_any_resolution_but_only_one(session):
    for path in func(session).iterdir():
        path.rename(path.with_name(path.name.replace("_desc", "_res-2_desc")))
    prepare_fmriprep.main(arguments(session))
    (func(session) / f"{stem(3)}_{MNI}.nii.gz").touch()
    with pytest.raises(
        UserError, match=r"expected one file .*run-03.*, found sub-02.*, sub-02.*res-2"
    ):
        prepare_fmriprep.main(arguments(session))


@pytest.mark.survives(
    "results",
    "A run of fMRIPrep's output is missing",
    "The stage stops and names it",
)
def test_a_missing_run_is_named(session):
    (func(session) / f"{stem(7)}_{MNI}.nii.gz").unlink()
    with pytest.raises(UserError, match=r"expected one file .*run-07.*, found none; run fMRIPrep"):
        prepare_fmriprep.main(arguments(session))
    with pytest.raises(UserError, match="session 2: subject 2 has sessions 1 to 1"):
        prepare_fmriprep.main(arguments(session, session=2))


@pytest.mark.survives(
    "results",
    "fMRIPrep's sidecar has another sampling period or start, milliseconds, or none",
    "The stage stops and names the field, the key of the configuration, and the unit",
)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"RepetitionTime": 4 / 3}, r"expected RepetitionTime 1\.6 s \(`tr_s`.*found 1\.33"),
        ({"RepetitionTime": 1600}, r"expected RepetitionTime 1\.6 s .*in seconds.*found 1600"),
        ({"RepetitionTime": "1.6"}, r"expected RepetitionTime 1\.6 s .*found 1\.6"),
        ({"RepetitionTime": float("nan")}, r"expected RepetitionTime 1\.6 s .*found nan"),
        ({"StartTime": 0.0}, r"expected StartTime 0\.775 s \(`first_volume_s`.*found 0"),
        ({"StartTime": None}, r"expected StartTime 0\.775 s .*found None"),
    ],
)
def test_other_timing_is_refused(session, fields, message):
    sidecar = func(session) / f"{stem(5)}_{MNI}.json"
    sidecar.write_text(json.dumps(TIMING | fields))
    with pytest.raises(UserError, match=rf"run-05.*\.json: {message}"):
        prepare_fmriprep.main(arguments(session))
    assert {path.name for path in session.iterdir()} == {"derivatives"}


def test_a_missing_sidecar_is_named(session):
    (func(session) / f"{stem(1)}_{MNI}.json").unlink()
    with pytest.raises(UserError, match=r"run-01.*\.json: expected fMRIPrep's sidecar"):
        prepare_fmriprep.main(arguments(session))


def test_another_number_of_volumes_is_refused(session):
    with pytest.raises(UserError, match=r"run-01.*: expected volumes 188, found 12"):
        prepare_fmriprep.main(arguments(session, volumes=188))


def test_fmripreps_own_projection(tmp_path):
    for run in range(1, 13):
        for side in "LR":
            series = np.random.default_rng(run).standard_normal((VOLUMES, VERTICES // 2))
            series += np.arange(VOLUMES)[:, None] * (side == "R")
            arrays = [nib.gifti.GiftiDataArray(volume) for volume in series.astype(np.float32)]
            name = f"{stem(run)}_hemi-{side}_space-fsaverage5_bold"
            nib.save(nib.GiftiImage(darrays=arrays), func(tmp_path) / f"{name}.func.gii")
            (func(tmp_path) / f"{name}.json").write_text(json.dumps(TIMING))
    prepare_fmriprep.main(arguments(tmp_path, space="fsaverage5", detrend="linear"))
    left, right = np.split(np.load(tmp_path / "out.npy")[11].astype(float), 2, axis=1)
    np.testing.assert_allclose(left, right, atol=2e-3)  # they differed by a slope
    assert left.std() == pytest.approx(1, abs=0.05)
    (func(tmp_path) / f"{stem(4)}_hemi-R_space-fsaverage5_bold.func.gii").unlink()
    with pytest.raises(UserError, match=r"expected one file .*run-04_hemi-R.*, found none"):
        prepare_fmriprep.main(arguments(tmp_path, space="fsaverage5"))


@pytest.fixture
def jobs():
    values = values_of()
    values["preprocessing"]["own"] = {"kind": "fmriprep", "job": {"work": "/scratch"}}
    return Jobs(load_config(values))


def test_existing_derivatives_are_preferred(jobs):
    def derivatives(**values):
        return jobs.derivatives(SimpleNamespace(**values, items=values.items))

    existing = derivatives(preprocessing="fmriprep", subject="subj02")
    assert existing == "resources/miniature/derivatives"
    own = derivatives(preprocessing="own", subject="subj02")
    assert own == "results/miniature/fmriprep/own/subj02"
    assert jobs.preprocessings_of("fmriprep") == "fmriprep|own"


def test_every_subject_has_a_working_folder(jobs):
    own = SimpleNamespace(preprocessing="own", subject="subj02")
    job = json.loads(jobs.fmriprep_job(own))
    assert job["work"] == "/scratch/miniature/own/subj02"
    assert FmriprepJob(**job).threads == 8


@pytest.mark.survives(
    "files",
    "fMRIPrep's sidecar is cut, binary, a web page or a list",
    "The stage stops and names it",
)
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"<html>", b"[1.6]", b"", b"[" * 100_000])
def test_sidecars_of_another_kind(session, content):
    (func(session) / f"{stem(1)}_{MNI}.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run-01.*\.json: expected fMRIPrep's sidecar .*found"):
        prepare_fmriprep.main(arguments(session))
