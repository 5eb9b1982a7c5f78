"""Stage `betas` and the download of its files."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from boldvision.config import Design, Miniature, Subject
from boldvision.datasets.miniature.bucket import Anatomy, write_betas
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import betas, fetch, keys
from boldvision.datasets.nsd.roi import read_roi
from boldvision.errors import UserError
from boldvision.signal.region import Voxels
from tests.unit.signal_files import AFFINE, GRID, SHARED, some_voxels

ROI = SHARED / "nsd_real" / "subj01_nsdgeneral.nii.gz"
KIND = "betas_fithrf_GLMdenoise_RR"
SUBJECT = Subject(number=1, sessions=1, grid=(6, 7, 5), voxels=24)
MINIATURE = Settings(
    miniature=Miniature(seed=3, noise=0.5),
    subjects={"subj01": SUBJECT},
    design=Design(images=1650, images_per_subject=250, shared_images=50, image_px=12),
)


def random_betas(trials=750) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(200, 400, (*GRID, trials)).astype(np.int16)


def write(folder: Path, volumes: np.ndarray, affine=AFFINE) -> dict[str, Path]:
    paths = {kind: folder / f"betas_session01.{kind}" for kind in ("nii.gz", "hdf5")}
    nib.save(nib.Nifti1Image(volumes, affine), paths["nii.gz"])
    with h5py.File(paths["hdf5"], "w") as file:
        chunks = (len(volumes.T), *[1] * (volumes.ndim - 1))
        file.create_dataset("betas", data=volumes.T, chunks=chunks)
    return paths


def prepare(path: Path, voxels: Voxels, **preprocessing) -> tuple[np.ndarray, dict]:
    settings = {"kind": "betas", "file": path.name.split(".", 1)[1]} | preprocessing
    folder = path.parent
    voxels.save(folder / "voxels.npz")
    betas.main([
        *("--betas", str(folder), "--voxels", str(folder / "voxels.npz")),
        *("--subject", "subj01", "--session", "1"),
        *("--settings", json.dumps({"preprocessing": settings})),
        *("--out", str(folder / "out.npy"), "--quality", str(folder / "out.json")),
    ])  # fmt: skip
    return np.load(folder / "out.npy"), json.loads((folder / "out.json").read_text())


@pytest.mark.parametrize("kind", ["nii.gz", "hdf5"])
def test_reads_percent_signal_change_in_the_order_of_voxels_and_trials(tmp_path, kind):
    volumes = random_betas()
    inside = np.zeros(GRID, bool)
    inside.flat[some_voxels().index] = True
    read = betas.read_betas(write(tmp_path, volumes)[kind], some_voxels())
    np.testing.assert_allclose(read, volumes[inside].T / 300, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_voxel_is_z_scored_over_the_trials(tmp_path, dtype):
    path = write(tmp_path, random_betas())["nii.gz"]
    raw = betas.read_betas(path, some_voxels()).astype(np.float64)
    series, report = prepare(path, some_voxels(), dtype=dtype)
    assert series.shape == (750, 1, 5)
    assert series.dtype == dtype
    expected = (raw - raw.mean(0)) / raw.std(0, ddof=1)
    np.testing.assert_allclose(series[:, 0], expected, atol=1e-5 if dtype == "float32" else 5e-3)
    assert (report["trials"], report["constant"]) == (750, 0)
    assert report["mean"] == pytest.approx(200 / 300, abs=0.1)
    assert report["std"] == pytest.approx(400 / 300, abs=0.1)


def test_a_constant_voxel_becomes_zeros_and_is_counted(tmp_path):
    volumes = random_betas()
    volumes[np.unravel_index(some_voxels().index[2], GRID)] = 1234
    series, report = prepare(write(tmp_path, volumes)["hdf5"], some_voxels())
    assert report["constant"] == 1
    assert not series[:, 0, 2].any()
    assert series[:, 0, 3].std() == pytest.approx(1, abs=0.01)


def test_both_files_of_the_miniature_give_the_same_series(tmp_path):
    simulation, anatomy = Simulation(MINIATURE), Anatomy(SUBJECT)
    write_betas(simulation, "subj01", 1, anatomy, tmp_path)
    voxels = Voxels(np.flatnonzero(anatomy.roi), SUBJECT.grid, anatomy.affine)
    series = [
        prepare(tmp_path / keys.betas("subj01", 1, KIND, kind), voxels)[0]
        for kind in ("nii.gz", "hdf5")
    ]
    assert series[0].shape == (750, 1, 24)
    np.testing.assert_array_equal(series[0], series[1])


@pytest.mark.parametrize("kind", ["nii.gz", "hdf5"])
@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        (random_betas(749), "expected trials 750, found 749"),
        (
            random_betas().astype(np.float32),
            "expected type int16, found float32|float32.*, not int16",
        ),
        (random_betas()[:-1], r"expected grid \(6, 5, 4\), found .5, 5, 4."),
        (random_betas().transpose(2, 1, 0, 3), r"expected grid \(6, 5, 4\), found .4, 5, 6."),
        (random_betas()[..., 0], r"expected dimensions 4, found 3|found .*\(4, 5, 6\)"),
        (np.zeros((*GRID, 750), np.int16), "found only zeros in its 5 voxels"),
    ],
)
def test_refuses_another_file(tmp_path, kind, volumes, message):
    path = write(tmp_path, volumes)[kind]
    with pytest.raises(UserError, match=message) as error:
        betas.read_betas(path, some_voxels())
    assert str(path) in str(error.value)


@pytest.mark.survives(
    "results",
    "Betas of another subject: their voxels lie elsewhere",
    "The stage stops and shows both affines",
)
def test_refuses_volumes_that_lie_elsewhere(tmp_path):
    path = write(tmp_path, random_betas(), AFFINE + 0.1 * np.eye(4, k=3))["nii.gz"]
    with pytest.raises(UserError, match="affine"):
        betas.read_betas(path, some_voxels())


@pytest.mark.survives(
    "files",
    "The betas of a session are cut or missing",
    "The stage stops, names the file and writes nothing",
)
@pytest.mark.parametrize("kind", ["nii.gz", "hdf5"])
def test_refuses_a_damaged_or_missing_file_and_leaves_nothing(tmp_path, kind):
    path = write(tmp_path, random_betas())[kind]
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match="fetch it again"):
        prepare(path, some_voxels())
    path.unlink()
    with pytest.raises(UserError, match=r"betas_session01\.\S+: expected"):
        prepare(path, some_voxels())
    assert not list(tmp_path.glob("*out*"))


def test_refuses_hdf5_without_betas(tmp_path):
    with h5py.File(tmp_path / "betas_session01.hdf5", "w") as file:
        file["beta"] = 1
    with pytest.raises(UserError, match="dataset `betas`"):
        betas.read_betas(tmp_path / "betas_session01.hdf5", some_voxels())


@pytest.mark.parametrize("kind", ["nii.gz", "hdf5"])
def test_fetches_one_file_of_the_session(tmp_path, kind):
    raw, root = tmp_path / "raw", tmp_path / "root"
    for extension, path in write(tmp_path, random_betas()).items():
        target = raw / keys.betas("subj01", 1, KIND, extension)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    settings = {"raw": str(raw), "subject": SUBJECT.model_dump()}
    arguments = [
        *("betas", "--settings", json.dumps(settings), "--root", str(root)),
        *("--ledger", str(root / "ledger.tsv"), "--subject", "subj01", "--kind", KIND),
        *("--file", kind, "--out", str(root / "session01")),
    ]
    fetch.main([*arguments, "--session", "1"])
    assert [path.name for path in (root / "session01").iterdir()] == [f"betas_session01.{kind}"]
    assert keys.betas("subj01", 1, KIND, kind) in (root / "ledger.tsv").read_text()
    with pytest.raises(UserError, match="sessions 1 to 1"):
        fetch.main([*arguments, "--session", "2"])


PEAK = """
import sys
from pathlib import Path
from boldvision.config import Betas
from boldvision.signal.region import Voxels
from boldvision.datasets.nsd import betas
path, voxels, betas.TRIALS_PER_SESSION = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
out, quality = path.with_suffix(".npy"), path.with_suffix(".json")
betas.prepare_betas(path, Voxels.load(voxels), Betas(kind="betas"), out, quality)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) / 1024)
"""


@pytest.mark.skipif(not ROI.exists(), reason="needs the real region of interest")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_true_grid_is_read_in_little_memory(tmp_path):
    """With 100 of the 750 trials the volume would be 280 MB as float32; it is never held."""
    grid, trials = (81, 104, 83), 100
    voxels = read_roi(ROI, 15724, grid)
    voxels.save(tmp_path / "voxels.npz")
    with h5py.File(tmp_path / "betas_session01.hdf5", "w") as file:
        shape, chunks = (trials, *grid[::-1]), (trials, 1, 1, 1)
        stored = file.create_dataset("betas", shape, np.int16, chunks=chunks)
        level = np.median(voxels.index % 83).astype(int)
        stored[:, level] = np.random.default_rng(0).integers(-999, 999, (trials, 104, 81))
    arguments = [str(tmp_path / name) for name in ("betas_session01.hdf5", "voxels.npz")]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments, str(trials)],
        cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert float(done.stdout) < 200
    assert np.load(tmp_path / "betas_session01.npy").shape == (trials, 1, 15724)


def foreign(folder: Path, how: str) -> Path:
    """Betas whose values lie in another file of this machine."""
    path, secret = folder / "betas_session01.hdf5", folder / "secret"
    stored = random_betas().T
    secret.write_bytes(stored.tobytes())
    with h5py.File(folder / "elsewhere.h5", "w") as file:
        file["betas"] = stored
    with h5py.File(path, "w") as file:
        if how == "external":
            options = {"external": [(str(secret), 0, h5py.h5f.UNLIMITED)]}
            file.create_dataset("betas", stored.shape, np.int16, **options)
        if how == "virtual":
            layout = h5py.VirtualLayout(stored.shape, np.int16)
            layout[:] = h5py.VirtualSource(folder / "elsewhere.h5", "betas", stored.shape)
            file.create_virtual_dataset("betas", layout)
        if how == "external link":
            file["betas"] = h5py.ExternalLink(folder / "elsewhere.h5", "betas")
        if how == "soft link":
            file["there"], file["betas"] = stored, h5py.SoftLink("/there")
        if how == "group":
            file.create_group("betas")
    return path


@pytest.mark.survives(
    "names",
    "A foreign HDF5 file takes its values from another file of this machine",
    "Links, external storage and virtual datasets are refused; no local file gets into an output",
)
@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("external", "values are kept in other files"),
        ("virtual", "values are kept in other files"),
        ("external link", "a link in place of"),
        ("soft link", "a link in place of"),
        ("group", "a group in place of"),
    ],
)
def test_refuses_values_of_other_files(tmp_path, how, found):
    path = foreign(tmp_path, how)
    with pytest.raises(UserError, match=found):
        betas.read_betas(path, some_voxels())


LOCKED = """
import h5py, sys
with h5py.File(sys.argv[1], "a"):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.mark.survives(
    "places",
    "Another program has an HDF5 file open for writing",
    "The stage says that it is locked, not that it is damaged",
)
def test_a_locked_file_is_not_called_damaged(tmp_path):
    path = write(tmp_path, random_betas())["hdf5"]
    command = [sys.executable, "-c", LOCKED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(UserError, match="another program has locked it") as error:
            betas.read_betas(path, some_voxels())
        other.stdin.close()
    assert "replace" not in str(error.value)
    betas.read_betas(path, some_voxels())
