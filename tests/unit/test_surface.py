"""Projection to fsaverage5: the same numbers as nilearn's, and what is refused."""

import base64
import gzip
import tracemalloc
import warnings
import zlib

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_fsaverage
from nilearn.surface import vol_to_surf

from boldvision.errors import UserError
from boldvision.signal.surface import VERTICES, read_hemispheres, read_volumes

GRID, VOLUMES = (19, 24, 18), 2
COVERING = np.array([[8.0, 0, 0, -72], [0, 8, 0, -108], [0, 0, 8, -52], [0, 0, 0, 1]])
LOW = np.array([[8.0, 0, 0, -72], [0, 8, 0, -108], [0, 0, 8, -130], [0, 0, 0, 1]])
OBLIQUE = np.array([[-8.1, 0.4, 0, 70], [0.5, 7.9, 0.3, -90], [0, -0.2, 8, -40], [0, 0, 0, 1]])


def volumes(seed=0, n=VOLUMES):
    return np.random.default_rng(seed).integers(0, 2000, (*GRID, n)).astype(np.int16)


def write(path, data, affine=COVERING):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def by_nilearn(path):
    meshes = load_fsaverage("fsaverage5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing but NaN
        sides = [
            vol_to_surf(
                nib.load(path),
                meshes["pial"].parts[side],
                inner_mesh=meshes["white_matter"].parts[side],
            )
            for side in ("left", "right")
        ]
    return np.concatenate(sides).T


@pytest.mark.parametrize("affine", [COVERING, LOW, OBLIQUE], ids=["whole", "low", "oblique"])
def test_equals_nilearn(tmp_path, affine):
    path = write(tmp_path / "bold.nii.gz", volumes(), affine)
    expected, found = by_nilearn(path), read_volumes(path, VOLUMES)
    assert found.shape == (VOLUMES, VERTICES)
    assert found.dtype == np.float32
    outside = np.isnan(expected).all(axis=0)
    assert outside.any() == (affine is not COVERING)
    assert (np.isnan(found) == outside).all()
    np.testing.assert_allclose(found[:, ~outside], expected[:, ~outside], rtol=1e-6, atol=1e-5)


def test_scaled_and_floating_point_volumes(tmp_path):
    data = np.random.default_rng(0).standard_normal((*GRID, VOLUMES)).astype(np.float32)
    path = write(tmp_path / "bold.nii.gz", data)
    np.testing.assert_allclose(read_volumes(path, VOLUMES), by_nilearn(path), atol=1e-5)
    data = data.astype(np.float64) + 100
    image = nib.Nifti1Image(data, COVERING)
    image.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
    nib.save(image, path)
    assert nib.load(path).dataobj.slope != 1
    np.testing.assert_allclose(read_volumes(path, VOLUMES), by_nilearn(path), rtol=1e-6)


def test_left_comes_first(tmp_path):
    data = np.zeros((*GRID, VOLUMES), np.int16)
    data[:9] = 100  # x < 0 mm
    series = read_volumes(write(tmp_path / "bold.nii.gz", data), VOLUMES)
    left, right = np.split(series.mean(axis=0), 2)
    assert left.mean() > 90
    assert right.mean() < 10


def damaged(path, change):
    data = volumes().astype(np.float32)
    if change == "nan":
        data[9, 12, 9, 1] = np.nan
    if change == "zeros":
        data[:] = 0
    write(path, data[..., :1] if change == "short" else data)
    if change == "cut":
        content = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(content[:-10]))
    if change == "bits":
        content = bytearray(path.read_bytes())
        content[-6] ^= 1  # the checksum
        path.write_bytes(content)
    if change == "text":
        path.write_text("not a volume")


@pytest.mark.survives(
    "files",
    "A run of fMRIPrep's is cut, has flipped bits, other volumes, NaN or no signal",
    "The stage stops and names the file and the volume; its checksum is verified",
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("short", "expected volumes 2, found 1"),
        ("nan", "expected finite values in all volumes, found others in volume 2"),
        ("zeros", "expected signal on fsaverage5 .*, found only zeros"),
        ("cut", "expected 2 whole volumes, found it ends in volume 2 of 2"),
        ("bits", "expected 2 whole volumes, found CRC check failed"),
        ("text", "expected a NIfTI file of volumes, found"),
    ],
)
def test_damaged_volumes_are_named(tmp_path, change, message):
    path = tmp_path / "bold.nii.gz"
    damaged(path, change)
    with pytest.raises(UserError, match=rf"bold\.nii\.gz: .*{message}"):
        read_volumes(path, VOLUMES)


def test_missing_volumes_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.nii\.gz: .*found no file"):
        read_volumes(tmp_path / "absent.nii.gz", VOLUMES)


def write_side(path, series):
    arrays = [nib.gifti.GiftiDataArray(volume) for volume in series.astype(np.float32)]
    nib.save(nib.GiftiImage(darrays=arrays), path)
    return path


def test_hemispheres_are_joined(tmp_path):
    series = np.random.default_rng(0).standard_normal((VOLUMES, VERTICES)).astype(np.float32)
    series[:, 5] = np.nan  # fMRIPrep can be told to blank the medial wall
    left, right = np.split(series, 2, axis=1)
    files = (write_side(tmp_path / "L.func.gii", left), write_side(tmp_path / "R.func.gii", right))
    np.testing.assert_array_equal(read_hemispheres(*files, VOLUMES), series)


def test_wrong_hemispheres_are_named(tmp_path):
    good = write_side(tmp_path / "L.func.gii", np.ones((VOLUMES, VERTICES // 2)))
    other = write_side(tmp_path / "R.func.gii", np.ones((VOLUMES, 2562)))
    with pytest.raises(UserError, match=r"R\.func\.gii: expected .* 10242 values, found .*2562"):
        read_hemispheres(good, other, VOLUMES)
    with pytest.raises(UserError, match=r"L\.func\.gii: expected volumes 3, found 2"):
        read_hemispheres(good, good, 3)
    other.write_text("<GIFTI")
    with pytest.raises(UserError, match=r"R\.func\.gii: expected a GIFTI file .*, found"):
        read_hemispheres(good, other, VOLUMES)
    other.unlink()
    with pytest.raises(UserError, match=r"R\.func\.gii: .*found no file"):
        read_hemispheres(good, other, VOLUMES)


@pytest.mark.survives(
    "results",
    "A vertex is not finite in some volumes of a run",
    "The stage stops; NaN in all of them, outside the field of view, becomes zero and is counted",
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vertices_that_are_finite_in_some_volumes(tmp_path, value):
    series = np.ones((VOLUMES, VERTICES // 2), np.float32)
    series[1, 7] = value
    path = write_side(tmp_path / "L.func.gii", series)
    with pytest.raises(UserError, match=r"L\.func\.gii: expected vertices finite or NaN in all"):
        read_hemispheres(path, path, VOLUMES)


@pytest.mark.parametrize("encoding", ["ASCII", "Base64Binary"])
def test_other_encodings(tmp_path, encoding):
    series = np.random.default_rng(0).standard_normal((VOLUMES, VERTICES // 2)).astype(np.float32)
    codes = {"ASCII": "GIFTI_ENCODING_ASCII", "Base64Binary": "GIFTI_ENCODING_B64BIN"}
    arrays = [nib.gifti.GiftiDataArray(volume, encoding=codes[encoding]) for volume in series]
    nib.save(nib.GiftiImage(darrays=arrays), tmp_path / "L.func.gii")
    assert f'"{encoding}"' in (tmp_path / "L.func.gii").read_text()
    both = read_hemispheres(tmp_path / "L.func.gii", tmp_path / "L.func.gii", VOLUMES)
    np.testing.assert_allclose(both[:, : VERTICES // 2], series, atol=1e-5)


@pytest.mark.survives(
    "names",
    "A surface file is a bomb, grows by its entities, or takes its values from another file",
    "No more is unpacked than an array may hold, and no other file is read; the stage stops",
)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("bomb", "compressed values that are too many"),
        ("cut", "compressed values that are too many, or cut"),
        ("external", "encoding ExternalFileBinary"),
        ("entities", "limit on input amplification"),
        ("html", r"<html>"),
        ("dimensions", "an array of 9+ dimensions"),
    ],
)
def test_foreign_surface_files(tmp_path, change, found):
    path = write_side(tmp_path / "L.func.gii", np.ones((VOLUMES, VERTICES // 2)))
    text = path.read_text()
    start = text.index("<Data>") + len("<Data>")
    packed, rest = text[start:].split("</Data>", 1)
    if change == "bomb":
        packed = base64.b64encode(zlib.compress(bytes(1 << 28), 9)).decode()
    if change == "cut":
        packed = base64.b64encode(base64.b64decode(packed)[:-4]).decode()
    text = f"{text[:start]}{packed}</Data>{rest}"
    if change == "external":
        (tmp_path / "secret").write_bytes(bytes(4 * VERTICES // 2))
        text = text.replace("GZipBase64Binary", "ExternalFileBinary")
        text = text.replace('ExternalFileName=""', 'ExternalFileName="secret"')
    if change == "dimensions":
        text = text.replace('Dimensionality="1"', f'Dimensionality="{"9" * 18}"')
    if change == "entities":
        lines = ['<!ENTITY a "aaaaaaaaaaaaaaaaaaaa">']
        pairs = zip("abcdefg", "bcdefgh", strict=True)
        lines += [f'<!ENTITY {b} "{f"&{a};" * 20}">' for a, b in pairs]
        text = f"<!DOCTYPE GIFTI [{''.join(lines)}]><GIFTI><Data>&h;</Data></GIFTI>"
    path.write_text("<html></html>" if change == "html" else text)
    del text, packed
    tracemalloc.start()
    with pytest.raises(UserError, match=rf"L\.func\.gii: expected a GIFTI file.*{found}"):
        read_hemispheres(path, path, VOLUMES)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
