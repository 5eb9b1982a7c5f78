"""Volumes -> raw series."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from boldvision.errors import UserError
from boldvision.nsd.roi import Voxels
from boldvision.signal.volumes import read_masked
from tests.unit.signal_files import AFFINE, GRID, random_volumes, some_voxels, write_run


def masked(volumes: np.ndarray) -> np.ndarray:
    inside = np.zeros(GRID, bool)
    inside.flat[some_voxels().index] = True
    return volumes[inside].T[:225].astype(np.float32)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("n_volumes", [225, 226])
def test_equals_boolean_indexing_of_the_first_225_volumes(tmp_path, suffix, n_volumes):
    volumes = random_volumes(n_volumes)
    series = read_masked(write_run(tmp_path / f"run{suffix}", volumes), some_voxels())
    assert series.dtype == np.float32
    np.testing.assert_array_equal(series, masked(volumes))


def test_honours_slope_and_intercept(tmp_path):
    volumes = random_volumes()
    image = nib.Nifti1Image(volumes, AFFINE)
    image.header.set_zooms((1.8, 1.8, 1.8, 4 / 3))
    image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / "run.nii.gz")
    stored = np.asarray(nib.load(tmp_path / "run.nii.gz").dataobj.get_unscaled())
    series = read_masked(tmp_path / "run.nii.gz", some_voxels())
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
    series = read_masked(tmp_path / "run.nii.gz", some_voxels())
    np.testing.assert_array_equal(series, masked(volumes))


@pytest.mark.parametrize(
    ("volumes", "options", "message"),
    [
        (random_volumes()[..., 0], {}, "expected dimensions 4, found 3"),
        (random_volumes()[:-1], {}, r"expected grid \(6, 5, 4\), found \(5, 5, 4\)"),
        (random_volumes(224), {}, r"expected volumes 226 \(or 225\), found 224"),
        (random_volumes(301), {}, "found 301"),
        (random_volumes().astype(np.float32), {}, "expected type int16, found float32"),
        (random_volumes(), {"tr_s": 1.6}, "expected TR 1.3333 s, found 1.6000 s"),
        (random_volumes(), {"affine": AFFINE + 0.1 * np.eye(4, k=3)}, "affine"),
        (np.zeros((*GRID, 226), np.int16), {}, "found only zeros in its 5 voxels"),
    ],
)
def test_refuses_another_file(tmp_path, volumes, options, message):
    path = write_run(tmp_path / "run.nii.gz", volumes, **options)
    with pytest.raises(UserError, match=message) as error:
        read_masked(path, some_voxels())
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.001, 0])
def test_refuses_a_truncated_file(tmp_path, kept):
    path = write_run(tmp_path / "run.nii.gz", random_volumes())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match="download it again"):
        read_masked(path, some_voxels())


def test_verifies_the_checksum_at_the_end(tmp_path):
    path = write_run(tmp_path / "run.nii.gz", random_volumes())
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # CRC32 and size are the last eight bytes
    path.write_bytes(content)
    with pytest.raises(UserError, match="truncated or corrupt"):
        read_masked(path, some_voxels())


def test_refuses_a_missing_file_and_one_that_is_not_nifti(tmp_path):
    with pytest.raises(UserError, match="found no file"):
        read_masked(tmp_path / "run.nii.gz", some_voxels())
    (tmp_path / "run.nii.gz").write_bytes(gzip.compress(b"no volumes" * 100))
    with pytest.raises(UserError, match="expected a NIfTI file"):
        read_masked(tmp_path / "run.nii.gz", some_voxels())


def test_voxels_come_in_c_order():
    """Guards the test's own reference: the index counts the last axis fastest."""
    voxels = Voxels(np.array([1]), (2, 2, 2), np.eye(4))
    assert np.unravel_index(voxels.index[0], voxels.shape) == (0, 0, 1)
