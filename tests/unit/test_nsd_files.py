"""The dataset as it lies in the bucket: keys, rest-run rule, design, regions, images."""

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.io

from boldvision.config import Design, Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.design import image_sequence, read_experiment_design, read_run_design
from boldvision.datasets.nsd.roi import read_roi
from boldvision.datasets.nsd.runs import (
    TRIALS_PER_SESSION,
    file_runs,
    task_file_runs,
    trials_in_run,
)
from boldvision.errors import UserError
from boldvision.signal.region import Voxels

REAL = Path(__file__).parents[2].parent / "shared" / "nsd_real"
SMALL = Design(images=100 + 8 * 150, images_per_subject=250, shared_images=100, image_px=4)
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no genuine NSD files here")


def experiment_fields() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shared, private = np.split(rng.permutation(SMALL.images) + 1, [SMALL.shared_images])
    shared.sort()
    stimpattern = np.zeros((1, 12, 75), np.uint8)
    for run in range(12):
        stimpattern[0, run, 3 : 3 + trials_in_run(run + 1)] = 1
    return {
        "masterordering": rng.permutation(np.repeat(np.arange(250), 3) + 1).astype(np.uint16)[None],
        "subjectim": np.hstack([np.tile(shared, (8, 1)), private.reshape(8, -1)]).astype(np.int32),
        "sharedix": shared.astype(np.int32)[None],
        "basiccnt": np.zeros((3, 1), np.uint16),
        "stimpattern": stimpattern,
    }


def read_changed(tmp_path, **changes):
    scipy.io.savemat(tmp_path / "d.mat", experiment_fields() | changes)
    return read_experiment_design(tmp_path / "d.mat", SMALL)


def test_keys_are_those_of_the_data_manual():
    folder = "nsddata_timeseries/ppdata/subj01/func1pt8mm"
    name = f"{folder}/timeseries/timeseries_session03_run14.nii.gz"
    assert keys.timeseries("subj01", 3, 14) == name
    assert keys.design("subj01", 3, 14) == f"{folder}/design/design_session03_run14.tsv"
    assert keys.roi("subj02") == "nsddata/ppdata/subj02/func1pt8mm/roi/nsdgeneral.nii.gz"
    assert keys.betas("subj01", 1, extension="hdf5") == (
        "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session01.hdf5"
    )


def test_rest_is_the_first_and_the_last_of_14_files():
    subject = Subject(number=1, sessions=40, rest_sessions=[21], grid=(1, 1, 1), voxels=1)
    assert file_runs(subject, 20) == task_file_runs(subject, 20) == list(range(1, 13))
    assert file_runs(subject, 21) == list(range(1, 15))
    assert task_file_runs(subject, 21) == list(range(2, 14))
    assert sum(map(trials_in_run, range(1, 13))) == TRIALS_PER_SESSION == 750
    with pytest.raises(UserError, match="sessions 1 to 40"):
        task_file_runs(subject, 41)


def test_real_number_of_files_per_subject():
    rest = list(range(21, 39))
    subject = Subject(number=1, sessions=40, rest_sessions=rest, grid=(1, 1, 1), voxels=1)
    assert sum(len(file_runs(subject, session)) for session in range(1, 41)) == 516


def test_sequence_of_images(tmp_path):
    design = read_changed(tmp_path)
    fields = experiment_fields()
    expected = [fields["subjectim"][6, column - 1] for column in fields["masterordering"][0]]
    sequence = image_sequence(design, 7, 1)
    assert sequence.dtype == design.masterordering_1based.dtype == np.int64
    assert sequence.tolist() == expected
    with pytest.raises(UserError, match="2 sessions"):
        image_sequence(design, 1, 2)


def test_differences_of_the_order_do_not_wrap(tmp_path):
    assert np.diff(read_changed(tmp_path).masterordering_1based).min() < 0


@pytest.mark.survives(
    "results",
    "nsd_expdesign.mat has the right shapes and wrong contents",
    "The stage stops and names the variable and what it should hold",
)
@pytest.mark.parametrize(
    ("field", "place", "value", "complaint"),
    [
        ("masterordering", (0, 0), 251, "each 3 times"),
        ("subjectim", (1, 0), 1, "shared images first"),
        ("subjectim", (1, 249), 0, "from 1 to"),
        ("stimpattern", (0, 5, 70), 1, "63 trials in odd"),
    ],
)
def test_design_faults_are_named(tmp_path, field, place, value, complaint):
    changed = experiment_fields()[field]
    changed[place] = value
    with pytest.raises(UserError, match=complaint):
        read_changed(tmp_path, **{field: changed})


def test_private_images_must_be_private(tmp_path):
    changed = experiment_fields()["subjectim"]
    changed[1, 249] = changed[2, 200]
    with pytest.raises(UserError, match="no other subject"):
        read_changed(tmp_path, subjectim=changed)


def test_one_order_for_all_trials(tmp_path):
    with pytest.raises(UserError, match=r"masterordering: expected shape \(750,\)"):
        read_changed(tmp_path, masterordering=experiment_fields()["masterordering"][:, :-1])


@pytest.mark.survives(
    "files",
    "nsd_expdesign.mat is missing, cut, or has another sha256 than the configuration says",
    "The stage stops before it reads a variable",
)
def test_wrong_or_damaged_file(tmp_path):
    path = tmp_path / "d.mat"
    with pytest.raises(UserError, match="found no file"):
        read_experiment_design(path, SMALL)
    scipy.io.savemat(path, experiment_fields())
    with pytest.raises(UserError, match="sha256"):
        read_experiment_design(path, SMALL.model_copy(update={"expdesign_sha256": "0" * 64}))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"expected nsd_expdesign\.mat, found"):
        read_experiment_design(path, SMALL)


@needs_real
def test_real_design():
    sha256 = "4cf4901ecf736c525ce534c4466030ec8d13c2fc0c8b31ddf86f17c55faadf89"
    real = read_experiment_design(REAL / "nsd_expdesign.mat", Design(expdesign_sha256=sha256))
    assert image_sequence(real, 1, 40)[:4].tolist() == [46003, 61883, 829, 67574]
    distinct = [len(np.unique(image_sequence(real, s, n))) for s, n in ((1, 40), (3, 32), (4, 30))]
    assert distinct == [10000, 9411, 9209]
    assert np.isin(image_sequence(real, 1, 40), real.shared_image_ids).sum() == 3000


def write_run(path: Path, onsets) -> Path:
    rows = np.zeros(225, int)
    rows[list(onsets)] = 73000
    np.savetxt(path, rows, fmt="%d")
    return path


@pytest.mark.parametrize("trials", [0, 62, 63])
def test_run_design(tmp_path, trials):
    path = write_run(tmp_path / "run.tsv", range(9, 9 + 3 * trials, 3))
    rows = read_run_design(path)
    assert rows.dtype == np.int64
    assert np.flatnonzero(rows).tolist() == list(range(9, 9 + 3 * trials, 3))


@pytest.mark.survives(
    "results",
    "The design of a run has other lines, onsets or trials than a run can have",
    "The stage stops and names the file and what was found",
)
def test_run_design_faults(tmp_path):
    path = tmp_path / "run.tsv"
    with pytest.raises(UserError, match="62 trials"):
        read_run_design(write_run(path, range(9, 99, 3)))
    with pytest.raises(UserError, match="every third row"):
        read_run_design(write_run(path, range(10, 10 + 3 * 63, 3)))
    np.savetxt(path, np.zeros(226), fmt="%d")
    with pytest.raises(UserError, match="225 lines"):
        read_run_design(path)
    path.write_text("12.5\n" * 225)
    with pytest.raises(UserError, match="one integer each"):
        read_run_design(path)


@pytest.mark.survives(
    "files",
    "The design of a run is a huge, a binary or a web page's file",
    "It is not read beyond the size of a design; the stage stops and names it",
)
@pytest.mark.parametrize(
    "content", [b"0\n" * (1 << 20), b"\xff\x00" * 225, b"<html></html>", b"", b"9" * 30]
)
def test_run_designs_of_another_kind(tmp_path, content):
    path = tmp_path / "run.tsv"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"run\.tsv: expected 225 lines"):
        read_run_design(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.fixture
def roi(tmp_path) -> Path:
    labels = np.array([-1.0, 0, 1, 2] * 6).reshape(2, 3, 4)
    path = tmp_path / "roi.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([1.8, 1.8, 1.8, 1])), path)
    return path


def test_only_positive_labels_in_c_order(roi, tmp_path):
    voxels = read_roi(roi, 12, (2, 3, 4))
    assert voxels.index[:4].tolist() == [2, 3, 6, 7]
    assert voxels.index.dtype == np.int64
    voxels.save(tmp_path / "voxels.npz")
    again = Voxels.load(tmp_path / "voxels.npz")
    assert again.shape == (2, 3, 4)
    np.testing.assert_array_equal(again.index, voxels.index)
    np.testing.assert_allclose(again.affine, np.diag([1.8, 1.8, 1.8, 1]))


@pytest.mark.survives(
    "results",
    "A region has another grid or number of voxels than the configuration says",
    "The stage stops and names both numbers",
)
def test_roi_faults(roi):
    with pytest.raises(UserError, match="expected 13 voxels with a label > 0, found 12"):
        read_roi(roi, 13, (2, 3, 4))
    with pytest.raises(UserError, match="expected grid"):
        read_roi(roi, 12, (2, 4, 3))
    roi.write_bytes(roi.read_bytes()[:60])
    with pytest.raises(UserError, match="expected a NIfTI volume of labels, found"):
        read_roi(roi, 12, (2, 3, 4))


@pytest.mark.survives(
    "files",
    "A bit of a region's file is flipped, more follows its labels, or some are no numbers",
    "Its checksum and its end are looked at; the stage stops and names it",
)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("bit", "CRC check failed"),
        ("more", "more bytes after"),
        ("nan", "labels that are not"),
    ],
)
def test_damaged_region(roi, change, found):
    content = bytearray(roi.read_bytes())
    if change == "bit":
        content[-6] ^= 1
    if change == "more":
        content += gzip.compress(bytes(8))
    if change == "nan":
        volume = bytearray(gzip.decompress(content))
        volume[-8:] = np.float64(np.nan).tobytes()
        content = gzip.compress(volume)
    roi.write_bytes(content)
    with pytest.raises(UserError, match=f"expected a NIfTI volume of labels, found {found}"):
        read_roi(roi, 12, (2, 3, 4))


def test_labels_are_scaled(roi):
    content = bytearray(gzip.decompress(roi.read_bytes()))
    header = nibabel.Nifti1Header(content[:348])
    header["scl_slope"], header["scl_inter"] = 1, -1
    roi.write_bytes(gzip.compress(header.binaryblock + content[348:]))
    assert len(read_roi(roi, 6, (2, 3, 4)).index) == 6


def bomb(mebibytes: int) -> bytes:
    """Zeros, compressed a thousandfold, without ever being in memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()


@pytest.mark.survives(
    "files",
    "A small file unpacks to more memory than there is",
    "No more is unpacked than its header and the configuration allow; the stage stops",
)
@pytest.mark.parametrize("kind", ["labels", "header", "design"])
def test_bombs_are_not_unpacked(roi, tmp_path, kind):
    path, header = tmp_path / "bomb", gzip.decompress(roi.read_bytes())[:352]
    if kind == "header":  # says that the bomb is what it should hold
        large = nibabel.Nifti1Header(header[:348])
        large.set_data_shape((500, 500, 500))
        header = large.binaryblock + bytes(4)
    tracemalloc.start()
    if kind == "design":
        packed = zlib.compress(bytes(1 << 28), 9)
        head = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
        path.write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
        del packed
        tracemalloc.reset_peak()
        with pytest.raises(UserError, match="bytes once unpacked"):
            read_experiment_design(path, SMALL)
    else:
        path = path.with_suffix(".nii.gz")
        path.write_bytes(gzip.compress(header) + bomb(256))
        tracemalloc.reset_peak()
        with pytest.raises(UserError, match="expected"):
            read_roi(path, 12, (2, 3, 4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6


@needs_real
def test_real_region():
    voxels = read_roi(REAL / "subj01_nsdgeneral.nii.gz", 15724, (81, 104, 83))
    assert voxels.index[:3].tolist() == [105374, 105455, 105456]
    np.testing.assert_allclose(voxels.affine[:3, 3], [-72, -92.7, -73.8], atol=1e-4)
