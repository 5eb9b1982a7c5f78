"""How outputs are written, inputs read, and folders kept to one job."""

import errno
import os
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from boldvision import cli, files, launcher
from boldvision.errors import UserError
from boldvision.files import MACHINE_FAULTS, atomic, machine_fault, only_job, reading

DESTRUCTIVE = ("delete", "remove", "download", "fetch", "damaged", "corrupt")


def read(path, error):
    with reading(path, "a table", "fetch it again"):
        raise error


@pytest.mark.survives(
    "files",
    "A file cannot be reached: no permission, a lock, a lost mount, a failing disk, a quota",
    "One sentence with the file and the cause; it is not called damaged, nothing is to be deleted",
)
@pytest.mark.parametrize("number", MACHINE_FAULTS)
def test_what_cannot_be_reached_is_not_damaged(tmp_path, number):
    path = tmp_path / "a.nii.gz"
    with pytest.raises(UserError) as error:
        read(path, OSError(number, os.strerror(number), str(path)))
    message = str(error.value)
    assert str(path) in message
    assert os.strerror(number) in message
    assert not any(word in message for word in DESTRUCTIVE)


@pytest.mark.parametrize(
    "error", [ValueError("no number"), KeyError("x"), RuntimeError(), OSError("cut")]
)
def test_whatever_a_reader_raises_is_one_sentence(tmp_path, error):
    with pytest.raises(UserError, match=r"b\.tsv: expected a table, found .+; fetch it again"):
        read(tmp_path / "b.tsv", error)


@pytest.mark.survives(
    "files",
    "A file of weights is a malicious pickle or a web page",
    "It is refused in one line, without torch's advice to load it all the same",
)
@pytest.mark.parametrize("harmful", [True, False])
def test_no_advice_to_run_what_a_file_says(tmp_path, harmful):
    path = tmp_path / "weights.pt"
    if harmful:
        torch.save(os.system, path)
    else:
        path.write_text("<html>Sign in</html>")
    refused = pytest.raises(UserError, match="not tensors alone, which was not loaded; fetch")
    with refused as error, reading(path, "weights", "fetch it again"):
        torch.load(path, weights_only=True)
    assert "weights_only" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("voxels"), "found KeyError 'voxels'; fetch it again"),
        (ValueError("line 1\n  line 2"), "found line 1 line 2; fetch it again"),
        (MemoryError("8 EiB"), "MemoryError 8 EiB; give the job more memory or, if the file is"),
    ],
)
def test_what_was_found_is_plain(tmp_path, error, said):
    with pytest.raises(UserError) as raised:
        read(tmp_path / "b.tsv", error)
    assert said in str(raised.value)


@pytest.mark.survives(
    "files",
    "A package is missing, or a name in our own code, while a file is read",
    "The error is shown as it is; the file is not called damaged",
)
@pytest.mark.parametrize("kind", [ModuleNotFoundError, NameError])
def test_what_is_missing_in_the_code_is_not_the_files_fault(tmp_path, kind):
    with pytest.raises(kind, match=r"^pyarrow$"):
        read(tmp_path / "b.tsv", kind("pyarrow"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="c: expected a table, found no file; fetch it again"):
        read(tmp_path / "c", FileNotFoundError(errno.ENOENT, "no such file"))


def test_its_own_errors_pass():
    with pytest.raises(UserError, match=r"^mine$"):
        read("d", UserError("mine"))


def test_other_errors_are_not_the_machines():
    assert machine_fault(OSError("truncated")) is None
    assert machine_fault(OSError(errno.EINVAL, "invalid")) is None


@pytest.mark.survives(
    "files",
    "The disk or the quota is full in the middle of an output",
    "One sentence; the former output is untouched, nothing half-written is left",
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_former_output(tmp_path, monkeypatch, capsys, number):
    out = tmp_path / "out.json"
    out.write_text("before")

    def stage(argv):
        with atomic(out) as part:
            part.write_text("half")
            raise OSError(number, os.strerror(number), str(part))

    monkeypatch.setattr(sys.modules[__name__], "main", stage, raising=False)
    monkeypatch.setitem(cli.STAGES, "full", (__name__, ""))
    assert cli.main(["full"]) == 1
    assert os.strerror(number) in capsys.readouterr().err
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


def write_safetensors(part):
    """It writes to a file of its own, beside the link to a full disk, and removes it."""
    part.unlink()
    raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")


def write_hdf5(part):
    with h5py.File(part, "w") as file:
        file["a"] = np.zeros(10**6)


WRITERS = {
    "NumPy": lambda part: np.zeros(10**6).tofile(part),
    "torch": lambda part: torch.save(torch.zeros(10**6), part),
    "safetensors": write_safetensors,
    "h5py": write_hdf5,
    "Python": lambda part: part.write_text("a" * 10**6),
}


@pytest.mark.survives(
    "files",
    "A library does not pass on that the disk is full (NumPy, torch, safetensors, HDF5)",
    "The same sentence as ever: it is found by another write; other errors stay what they are",
)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_library_that_meets_a_full_disk(tmp_path, write):
    out = tmp_path / "out"

    def on_a_full_disk(write):
        with atomic(out) as part:
            part.symlink_to("/dev/full")
            write(part)

    with pytest.raises(UserError, match=rf"{out}: No space left"):
        on_a_full_disk(write)
    with pytest.raises(ZeroDivisionError), atomic(out) as part:
        part.write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())


@pytest.mark.survives(
    "jobs",
    "Two jobs at once in one unfinished folder",
    "The second waits, then is refused with the process that holds the folder",
)
def test_one_job_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE_S", 0.2)
    folder = tmp_path / "session01.partial"
    held = pytest.raises(UserError, match=rf"{folder}: .*process {os.getpid()} on")
    with only_job(folder), held, only_job(folder):
        pass
    with only_job(folder):
        pass


@pytest.mark.survives(
    "jobs",
    "A job is started again while the killed one still ends, or a failed machine holds its lock",
    "It says which process it waits for, and goes on when that has ended; it waits two minutes",
)
def test_a_second_job_goes_on_when_the_first_has_ended(tmp_path, capfd):
    assert files.PATIENCE_S > 90 > launcher.GRACE_S  # NFS 4 keeps locks for 90 s
    entered, leave = threading.Event(), threading.Event()

    def first():
        with only_job(tmp_path / "a"):
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(5)
    threading.Timer(0.2, leave.set).start()
    with only_job(tmp_path / "a"):
        assert leave.is_set()
    thread.join()
    said = capfd.readouterr().err
    assert said.count(f"{tmp_path / 'a'}: another job works there (process {os.getpid()} on") == 1


def test_a_killed_job_holds_nothing(tmp_path):
    code = (
        "import os, signal; from boldvision.files import only_job\n"
        f"with only_job({str(tmp_path / 'a')!r}): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with only_job(tmp_path / "a"):
        pass


@pytest.mark.survives(
    "places",
    "A library writes its files for one account alone (safetensors does)",
    "Outputs have the mode that the umask says: colleagues can read a model",
)
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_outputs_are_as_readable_as_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic(tmp_path / "model.safetensors") as part:
            save_file({"weight": np.zeros(3)}, part)
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == mode
