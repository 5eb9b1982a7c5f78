"""The miniature NSD: NSD's own invariants and formats, and a known answer that is the true one."""

import hashlib
import json
import time
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image
from scipy.stats import gamma

from boldvision.config import Design, Miniature, Subject
from boldvision.datasets.miniature import bold
from boldvision.datasets.miniature.behaviour import RESPONSE_COLUMNS
from boldvision.datasets.miniature.bucket import write_bucket, write_truth
from boldvision.datasets.miniature.experiment import (
    _counts_within_sessions,
    experiment_design,
    run_designs,
)
from boldvision.datasets.miniature.scenes import draw_scene, render, render_all
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.design import read_experiment_design, read_run_design
from boldvision.datasets.nsd.runs import TR_S
from boldvision.seeds import numpy_generator

REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "nsd_real" / "nsd_expdesign.mat"
DESIGN = Design(images=1650, images_per_subject=250, shared_images=50, image_px=12)
SETTINGS = Settings(
    miniature=Miniature(seed=3, noise=0.5),
    subjects={
        "subj01": Subject(number=1, sessions=1, rest_sessions=[1], grid=(6, 7, 5), voxels=24),
        "subj02": Subject(number=2, sessions=1, grid=(5, 6, 6), voxels=20),
    },
    design=DESIGN,
)


@pytest.fixture(scope="module")
def simulation():
    return Simulation(SETTINGS)


@pytest.fixture(scope="module")
def bucket(simulation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniature") / "bucket"
    write_bucket(simulation, folder)
    return folder


@pytest.fixture(scope="module")
def full_size():
    """The experiment of 40 sessions and 73,000 images."""
    return experiment_design(Design(), 40, seed=0)


def exact_response(parameters, t):
    """Response to an image from 0 to 3 s, peak 1: double gamma integrated by its distribution."""
    peak, undershoot, peak_width, undershoot_width, ratio = parameters

    def integrated(t):
        rise = gamma.cdf(t, peak / peak_width, scale=peak_width)
        fall = gamma.cdf(t, undershoot / undershoot_width, scale=undershoot_width)
        return rise - fall / ratio

    def image(t):
        return integrated(t) - integrated(t - 3)

    return image(t) / image(np.arange(0, 32, 0.001)).max()


def test_design_has_the_fields_of_nsd(full_size):
    found = {name: (value.dtype.name, value.shape) for name, value in full_size.items()}
    assert found == {
        "masterordering": ("uint16", (1, 30000)),
        "subjectim": ("int32", (8, 10000)),
        "sharedix": ("int32", (1, 1000)),
        "basiccnt": ("uint16", (3, 40)),
        "stimpattern": ("uint8", (40, 12, 75)),
    }


@pytest.mark.skipif(not REAL.exists(), reason="no nsd_expdesign.mat here")
def test_design_is_as_the_real_one(full_size):
    real = scipy.io.loadmat(REAL)
    for name, value in full_size.items():
        assert (real[name].dtype, real[name].shape) == (value.dtype, value.shape), name
    counted = _counts_within_sessions(real["masterordering"][0], 40)
    assert np.array_equal(counted, real["basiccnt"])


def test_images_are_numbered_from_one_and_shown_three_times(full_size):
    order, counts = np.unique(full_size["masterordering"], return_counts=True)
    assert np.array_equal(order, np.arange(1, 10001))
    assert (counts == 3).all()
    images, shared = full_size["subjectim"], full_size["sharedix"][0]
    assert (images[:, :1000] == shared).all()
    assert (np.diff(shared) > 0).all()
    ids = np.unique(images)
    assert (ids[0], ids[-1], len(ids)) == (1, 73000, 73000)  # private sets are disjoint


def test_slots_of_a_run_are_as_in_nsd(full_size):
    pattern = full_size["stimpattern"]
    assert pattern.sum() == 30000
    for run, slots in enumerate(pattern.reshape(-1, 75)):
        odd = run % 2 == 0
        onsets = np.flatnonzero(slots)
        assert len(onsets) == (63 if odd else 62)
        assert (onsets[0], onsets[-1]) == (3, 70 if odd else 69)
        gaps = np.diff(onsets)
        assert set(gaps.tolist()) == {1, 2}  # blanks are never adjacent
        assert (gaps == 2).sum() == 5
    assert len(np.unique(pattern.reshape(-1, 75), axis=0)) > 400


def test_counts_are_of_images_within_a_session():
    order = np.array([1, 1, 1, 2, 2, 3, 1, 2, 2, 2, 3, 4])
    assert _counts_within_sessions(order, 2).tolist() == [[1, 3], [1, 0], [1, 1]]


def test_designs_follow_the_order_of_presentation(full_size):
    columns = run_designs(full_size, 5)
    assert columns.shape == (40, 12, 225)
    assert not columns[..., np.arange(225) % 3 != 0].any()
    assert not columns[..., :9].any()
    shown = columns[columns > 0]
    expected = full_size["subjectim"][4][full_size["masterordering"][0].astype(int) - 1]
    assert np.array_equal(shown, expected)


def test_sessions_that_images_do_not_fill_are_refused():
    with pytest.raises(ValueError, match="250 images x 3 do not fill 2 sessions"):
        experiment_design(DESIGN, 2, 0)


def test_a_scene_does_not_depend_on_the_others():
    three = render_all(5, 3, 16)
    assert three.dtype == np.uint8
    assert np.array_equal(three[2], render(draw_scene(5, 3), 16))
    assert not np.array_equal(three[2], render(draw_scene(6, 3), 16))
    assert len(np.unique(three.reshape(3, -1), axis=0)) == 3


def test_time_series_have_nsds_format(bucket, simulation):
    for name, subject in SETTINGS.subjects.items():
        affine_origin = -(np.array(subject.grid) - 1) / 2 * 1.8
        for run in range(1, 15 if subject.rest_sessions else 13):
            image = nib.load(bucket / keys.timeseries(name, 1, run))
            assert image.shape == (*subject.grid, 226)
            assert image.get_data_dtype() == np.int16
            assert image.header.get_zooms() == pytest.approx((1.8, 1.8, 1.8, 4 / 3))
            assert image.header.get_xyzt_units() == ("mm", "sec")
            assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
            assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
            assert image.affine[:3, 3] == pytest.approx(affine_origin)
        assert not (bucket / keys.timeseries(name, 1, run + 1)).exists()


def test_labels_and_mask(bucket):
    for name, subject in SETTINGS.subjects.items():
        labels = nib.load(bucket / keys.roi(name)).get_fdata()
        mask = nib.load(bucket / keys.brainmask(name))
        assert mask.get_data_dtype() == np.int16
        assert set(np.unique(labels)) == {-1, 0, 1}
        assert (labels > 0).sum() == subject.voxels
        assert (mask.get_fdata()[labels >= 0] == 1).all()
        assert (mask.get_fdata()[labels < 0] == 0).all()
        volume = nib.load(bucket / keys.timeseries(name, 1, 1)).get_fdata()
        assert (volume[labels < 0] == 0).all()
        assert volume[labels > 0].mean() == pytest.approx(600, abs=5)


def test_rest_runs_are_the_first_and_last_of_fourteen(bucket, simulation):
    """File run 2 is task run 1; rest runs have designs of zeros and no response to images."""
    experiment = read_experiment_design(bucket / keys.expdesign(), DESIGN)
    designs = run_designs(simulation.fields, 1)[0]
    roi = nib.load(bucket / keys.roi("subj01")).get_fdata() > 0
    for run in range(1, 15):
        found = read_run_design(bucket / keys.design("subj01", 1, run))
        rest = run in (1, 14)
        assert np.array_equal(found, np.zeros(225) if rest else designs[run - 2])
        series = nib.load(bucket / keys.timeseries("subj01", 1, run)).get_fdata()[roi].T
        task_run = None if rest else run - 1
        assert abs(series - simulation.series("subj01", 1, task_run)).max() <= 0.5
    assert (experiment.stimpattern == simulation.fields["stimpattern"]).all()
    assert not list(bucket.rglob("*subj02*/**/design_session01_run13.tsv"))


def test_stimuli_are_contiguous_and_row_i_is_image_i_plus_1(bucket):
    with h5py.File(bucket / keys.stimuli()) as file:
        brick = file["imgBrick"]
        assert brick.shape == (DESIGN.images, 12, 12, 3)
        assert brick.dtype == np.uint8
        assert brick.chunks is None
        assert brick.compression is None
        assert brick.id.get_offset() is not None
        assert np.array_equal(brick[7], render(draw_scene(3, 8), 12))


def test_betas_agree_in_both_axis_orders_and_with_the_truth(bucket, simulation):
    nifti = nib.load(bucket / keys.betas("subj01", 1, extension="nii.gz"))
    volumes = np.asarray(nifti.dataobj)
    assert volumes.dtype == np.int16
    assert volumes.shape == (6, 7, 5, 750)
    with h5py.File(bucket / keys.betas("subj01", 1, extension="hdf5")) as file:
        assert file["betas"].dtype == np.int16
        assert np.array_equal(file["betas"][:].T, volumes)
    roi = nib.load(bucket / keys.roi("subj01")).get_fdata() > 0
    image_id = simulation.fields["subjectim"][0][simulation.fields["masterordering"][0] - 1]
    true = simulation.features[image_id - 1] @ simulation.voxelwise["subj01"].weights
    error = volumes[roi].T / 300 - true  # percent signal change
    assert error.std() == pytest.approx(SETTINGS.miniature.noise / 2, rel=0.05)
    assert not volumes[~roi].any()


def test_responses_have_nsds_columns(bucket, simulation):
    table = pd.read_csv(bucket / keys.responses("subj01"), sep="\t")
    assert table.columns.tolist() == list(RESPONSE_COLUMNS)
    assert len(table.columns) == 19
    assert len(table) == 750
    columns = run_designs(simulation.fields, 1)
    assert np.array_equal(table["73KID"], columns[columns > 0])
    assert np.array_equal(table["10KID"], simulation.fields["masterordering"][0])
    trials = {
        run: 63 if run % 2 else 62 for run in range(1, 13)
    }  # task runs, although there is rest
    assert table.groupby("RUN").size().to_dict() == trials
    assert (table["SESSION"] == 1).all()
    assert table.groupby("RUN")["TRIAL"].max().tolist() == [63, 62] * 6
    assert np.array_equal(table["ISOLD"], table["73KID"].duplicated())
    assert ((table["BUTTON"] == 2) == (table["ISOLD"] == table["ISCORRECT"])).all()
    assert (np.diff(table["TIME"]) > 0).all()


def test_stimulus_table_names_the_trials_of_an_image(bucket, simulation):
    table = pd.read_csv(bucket / keys.stim_info(), index_col=0)
    order = simulation.fields["masterordering"][0]
    assert table["shared1000"].sum() == 50
    for image in (1, 100, 250):
        row = table.loc[simulation.fields["subjectim"][1][image - 1] - 1]
        assert row["subject2"] == 1
        shown = [row[f"subject2_rep{k}"] for k in range(3)]
        assert shown == (1 + np.flatnonzero(order == image)).tolist()
    assert table.filter(like="subject1_rep").to_numpy().max() == 750
    assert (table["subject1"] == 0).sum() == DESIGN.images - 250


def test_shared_images_are_pngs_too(bucket, simulation):
    shared = simulation.fields["sharedix"].ravel()
    for number in (1, 50):
        with Image.open(bucket / keys.shared_image(number, shared[number - 1])) as image:
            assert np.array_equal(image, simulation.images[shared[number - 1] - 1])
    assert len(list((bucket / keys.shared_image(1, shared[0])).parent.iterdir())) == 50


def test_the_same_settings_give_the_same_bytes(bucket, tmp_path):
    def digests(folder):
        return {
            path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    time.sleep(1.1)  # formats that hold the time count in seconds
    write_bucket(Simulation(SETTINGS), tmp_path / "again")
    first, second = digests(bucket), digests(tmp_path / "again")
    assert len(first) > 50
    assert first == second


def test_responses_are_those_of_three_seconds_of_image():
    t = np.arange(0, 30, TR_S)
    for member, parameters in enumerate(bold.HRF_LIBRARY):
        onset = np.array([9])
        series = bold.run_response(onset, np.full((1, 1), 5.0), np.array([member]))[9:, 0]
        np.testing.assert_allclose(series[: len(t)], 5 * exact_response(parameters, t), atol=0.1)
        fine = np.arange(0, 20, 0.01)
        true_peak = fine[np.argmax(exact_response(parameters, fine))]
        assert bold.peak_s(parameters) == pytest.approx(true_peak, abs=0.05)


def test_least_squares_with_the_true_response_finds_the_true_amplitudes():
    quiet = SETTINGS.model_copy(update={"miniature": Miniature(seed=3, noise=1e-3)})
    simulation = Simulation(quiet)
    voxels = simulation.voxelwise["subj01"]
    column = run_designs(simulation.fields, 1)[0, 3]
    rows = np.flatnonzero(column)
    true = simulation.features[column[rows] - 1] @ voxels.weights
    series = simulation.series("subj01", 1, 4)
    t = TR_S * np.arange(226)
    s = np.linspace(0, 1, 226)
    slow = np.stack([np.ones(226), s, np.cos(np.pi * s), np.cos(2 * np.pi * s)], axis=1)
    for voxel, member in enumerate(voxels.hrf):
        trials = exact_response(bold.HRF_LIBRARY[member], t[:, None] - TR_S * rows)
        fitted = np.linalg.lstsq(np.hstack([trials, slow]), series[:, voxel], rcond=None)[0]
        amplitude = fitted[: len(rows)] / bold.RESPONSE_STD
        np.testing.assert_allclose(amplitude, true[:, voxel], atol=0.15)
        assert np.polyfit(true[:, voxel], amplitude, 1)[0] == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("noise", "ar1"), [(1.0, 0.4), (2.5, 0.0)])
def test_noise_is_as_configured(noise, ar1):
    def drawn(level):
        random = numpy_generator(0, "noise")
        return bold.run_noise(random, 500, Miniature(noise=level, ar1=ar1))

    only_noise = (drawn(noise) - drawn(1e-9)) / bold.RESPONSE_STD  # the drift is the same
    assert only_noise.std() == pytest.approx(noise, rel=0.02)
    assert only_noise[0].std() == pytest.approx(noise, rel=0.1)  # stationary from the start
    lag_1 = np.mean(only_noise[1:] * only_noise[:-1]) / only_noise.var()
    assert lag_1 == pytest.approx(ar1, abs=0.02)
    assert bold.single_trial_ceiling(Miniature(noise=noise)) == 1 / (1 + noise**2)


def test_voxels_respond_to_images_with_unit_std(simulation):
    for name in SETTINGS.subjects:
        voxels = simulation.voxelwise[name]
        assert (simulation.features @ voxels.weights).std(0) == pytest.approx(1)
        assert set(np.unique(voxels.group)) <= {0, 1, 2}


def test_the_known_answer_is_written(simulation, tmp_path):
    write_truth(simulation, tmp_path / "truth")
    summary = json.loads((tmp_path / "truth" / "truth.json").read_text())
    assert set(summary) == {"subj01", "subj02"}
    assert 5 < summary["subj01"]["peak_s"] < 6.5
    assert summary["subj01"]["noise_ceiling"] == 1 / (1 + 0.5**2)
    with np.load(tmp_path / "truth" / "subj01.npz") as saved:
        assert np.array_equal(saved["weights"], simulation.voxelwise["subj01"].weights)
        assert len(saved["hrf"]) == len(saved["group"]) == 24
