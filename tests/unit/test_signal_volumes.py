"""Volumes -> raw series."""

import errno
import gzip
import os

import nibabel as nib
import numpy as np
import pytest
from isal import igzip

from boldvision.errors import UserError
from boldvision.signal.region import Voxels
from tests.unit.signal_files import AFFINE, GRID, random_volumes, read_run, some_voxels, write_run


def masked(volumes: np.ndarray) -> np.ndarray:
    inside = np.zeros(GRID, bool)
    inside.flat[some_voxels().index] = True
    return volumes[inside].T[:225].astype(np.float32)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("n_volumes", [225, 226])
def test_equals_boolean_indexing_of_the_first_225_volumes(tmp_path, suffix, n_volumes):
    volumes = random_volumes(n_volumes)
    series = read_run(write_run(tmp_path / f"run{suffix}", volumes))
    assert series.dtype == np.float32
    np.testing.assert_array_equal(series, masked(volumes))


def test_honours_slope_and_intercept(tmp_path):
    volumes = random_volumes()
    image = nib.Nifti1Image(volumes, AFFINE)
    image.header.set_zooms((1.8, 1.8, 1.8, 4 / 3))
    image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / "run.nii.gz")
    stored = np.asarray(nib.load(tmp_path / "run.nii.gz").dataobj.get_unscaled())
    series = read_run(tmp_path / "run.nii.gz")
    np.testing.assert_allclose(series, 0.5 * masked(stored) - 7)


def test_reads_the_other_byte_order(tmp_path):
    volumes = random_volumes()
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(volumes, AFFINE, header)
    image.header.set_zooms((1.8, 1.8, 1.8, 4 / 3))
    nib.save(image, tmp_path / "run.nii.gz")
    content = gzip.decompress((tmp_path / "run.nii.gz").read_bytes())
    assert content[:4] == (348).to_bytes(4, "big")
    series = read_run(tmp_path / "run.nii.gz")
    np.testing.assert_array_equal(series, masked(volumes))


@pytest.mark.survives(
    "results",
    "A run of another grid, type, number of volumes, sampling period or place",
    "The stage stops and names the file, what was expected and what was found",
)
@pytest.mark.parametrize(
    ("volumes", "options", "message"),
    [
        (random_volumes()[..., 0], {}, "expected dimensions 4, found 3"),
        (random_volumes()[:-1], {}, r"expected grid \(6, 5, 4\), found \(5, 5, 4\)"),
        (random_volumes(224), {}, r"expected volumes 226 \(or 225\), found 224"),
        (random_volumes(301), {}, "found 301"),
        (random_volumes().astype(np.float32), {}, "expected type int16, found float32"),
        (
            random_volumes(),
            {"tr_s": 1.6},
            r"TR 1.3333 s, found 1.6000 s \(no unit given\)",
        ),
        (random_volumes(), {"affine": AFFINE + 0.1 * np.eye(4, k=3)}, "affine"),
        (np.zeros((*GRID, 226), np.int16), {}, "found only zeros in its 5 voxels"),
    ],
)
def test_refuses_another_file(tmp_path, volumes, options, message):
    path = write_run(tmp_path / "run.nii.gz", volumes, **options)
    with pytest.raises(UserError, match=message) as error:
        read_run(path)
    assert str(path) in str(error.value)


@pytest.mark.survives(
    "files",
    "A run of volumes is cut",
    "The stage stops and names the file and the volume in which it ends",
)
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.001, 0])
def test_refuses_a_truncated_file(tmp_path, kept):
    path = write_run(tmp_path / "run.nii.gz", random_volumes())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match="fetch it again"):
        read_run(path)


@pytest.mark.survives(
    "files",
    "A bit of a compressed run is flipped",
    "The file is read to its end, its checksum does not agree, and the stage stops",
)
def test_verifies_the_checksum_at_the_end(tmp_path):
    path = write_run(tmp_path / "run.nii.gz", random_volumes())
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # CRC32 and size are the last eight bytes
    path.write_bytes(content)
    with pytest.raises(UserError, match="expected 226 whole volumes, found CRC check failed"):
        read_run(path)


@pytest.mark.survives(
    "files",
    "Bytes follow the volumes of a run, with a checksum that is right or wrong",
    "The stage stops: the file is not the one its header describes",
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_refuses_what_follows_the_volumes(tmp_path, suffix):
    content = gzip.decompress(write_run(tmp_path / "run.nii.gz", random_volumes()).read_bytes())
    path = tmp_path / f"run{suffix}"
    more = bytearray(gzip.compress(content + b"more") if suffix == ".nii.gz" else content + b"more")
    path.write_bytes(more)
    with pytest.raises(UserError, match="more bytes after its 226 volumes"):
        read_run(path)
    more[-6] ^= 1
    path.write_bytes(more)
    with pytest.raises(UserError, match="expected 226 whole volumes, found"):
        read_run(path)


@pytest.mark.survives(
    "files",
    "A run was compressed in pieces, one gzip file after another, or other bytes follow it",
    "The pieces are read as one file; other bytes after them are refused",
)
def test_several_gzip_files_in_a_row(tmp_path):
    path = write_run(tmp_path / "run.nii.gz", random_volumes())
    content = gzip.decompress(path.read_bytes())
    whole = gzip.compress(content[:9000]) + gzip.compress(content[9000:])
    path.write_bytes(whole + bytes(100))  # zeros are allowed
    np.testing.assert_array_equal(read_run(path), masked(random_volumes()))
    path.write_bytes(whole + b"no gzip file")
    with pytest.raises(UserError, match="expected 226 whole volumes, found Not a gzipped file"):
        read_run(path)


def write_header(path, units="unknown", tr=4 / 3, **fields):
    """A run whose header is changed after the fact, as a faulty disk would."""
    image = nib.Nifti1Image(random_volumes(), AFFINE)
    image.header.set_zooms((1.8, 1.8, 1.8, tr))
    image.header.set_xyzt_units("mm", units)
    nib.save(image, path)
    if fields:
        content = gzip.decompress(path.read_bytes())
        header = nib.Nifti1Header(content[:348])
        for name, value in fields.items():
            header[name] = value
        path.write_bytes(gzip.compress(header.binaryblock + content[348:]))
    return path


@pytest.mark.survives(
    "results",
    "A run's header gives its sampling period in milli- or microseconds",
    "It is read in its unit; another period is refused with the unit it has",
)
@pytest.mark.parametrize(("units", "factor"), [("sec", 1), ("msec", 1e3), ("usec", 1e6)])
def test_sampling_period_in_its_unit(tmp_path, units, factor):
    right = write_header(tmp_path / "run.nii.gz", units, 4 / 3 * factor)
    np.testing.assert_array_equal(read_run(right), masked(random_volumes()))
    wrong = write_header(tmp_path / "run.nii.gz", units, 1.6 * factor)
    sign = {"sec": "s", "msec": "ms", "usec": "us"}[units]
    with pytest.raises(UserError, match=rf"TR 1.3333 s, found {1.6 * factor:.4f} {sign};"):
        read_run(wrong)


def test_sampling_period_that_is_no_time(tmp_path):
    with pytest.raises(UserError, match=r"expected TR 1.3333 s, found 1.3333 hz"):
        read_run(write_header(tmp_path / "run.nii.gz", "hz"))


@pytest.mark.survives(
    "files",
    "Fields of a volume's header are absurd: scaling, affine, first byte, dimensions",
    "They are checked before memory is taken; the stage stops and names the field's value",
)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scl_slope": 1, "scl_inter": np.nan}, "invalid intercept nan"),
        ({"scl_slope": 3e38}, "values beyond float32"),
        ({"srow_x": np.nan}, "affine"),
        ({"vox_offset": 1e30}, "begin at byte"),
        ({"vox_offset": np.nan}, "expected a NIfTI file"),
        ({"dim": [4, 32767, 32767, 32767, 226, 1, 1, 1]}, "volumes of 70362301923326 bytes"),
        ({"dim": [4, 6, -5, 4, 226, 1, 1, 1]}, "of shape"),
        ({"datatype": 128}, "expected a NIfTI file"),
        ({"magic": b"ni1"}, "another format"),
    ],
)
def test_absurd_headers(tmp_path, fields, message):
    path = write_header(tmp_path / "run.nii.gz", **fields)
    with pytest.raises(UserError, match=message):
        read_run(path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_reached_is_not_damaged(tmp_path, monkeypatch, code):
    path = write_run(tmp_path / "run.nii.gz", random_volumes())

    def fails(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(igzip, "open", fails)
    with pytest.raises(UserError, match=rf"run\.nii\.gz: {os.strerror(code)}") as error:
        read_run(path)
    assert "again, or replace" not in str(error.value)


@pytest.mark.survives(
    "files",
    "A run of volumes is missing or no NIfTI file",
    "The stage stops and names it",
)
def test_refuses_a_missing_file_and_one_that_is_not_nifti(tmp_path):
    with pytest.raises(UserError, match="found no file"):
        read_run(tmp_path / "run.nii.gz")
    (tmp_path / "run.nii.gz").write_bytes(gzip.compress(b"no volumes" * 100))
    with pytest.raises(UserError, match="expected a NIfTI file of volumes, found"):
        read_run(tmp_path / "run.nii.gz")


def test_voxels_come_in_c_order():
    """Guards the test's own reference: the index counts the last axis fastest."""
    voxels = Voxels(np.array([1]), (2, 2, 2), np.eye(4))
    assert np.unravel_index(voxels.index[0], voxels.shape) == (0, 0, 1)
