"""Whole files or nothing: how outputs are written, inputs read, and folders kept to one job."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boldvision.errors import UserError

MACHINE_FAULTS = {
    errno.EACCES: "this account may not; ask its owner, or correct its mode",
    errno.EPERM: "this account may not; ask its owner, or correct its mode",
    errno.EAGAIN: "another program has locked it; end that program and run again",
    errno.EBUSY: "another program uses it; end that program and run again",
    errno.ESTALE: "the network file system has lost it; run again, or mount it anew",
    errno.EIO: "the disk or network file system failed; run again, and report it if it recurs",
    errno.ETIMEDOUT: "the network file system does not answer; run again",
    errno.ENOSPC: "the disk is full; make room and run again to resume",
    errno.EDQUOT: "your quota is used up; make room and run again to resume",
    errno.EROFS: "the file system is read-only; choose another folder, or mount it writable",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n) and run again",
    errno.ENOTDIR: "a file stands where a folder is expected; correct the path",
    errno.EISDIR: "a folder stands where a file is expected; correct the path",
    errno.ELOOP: "its symbolic links are a circle; correct them",
    errno.ENAMETOOLONG: "its name is too long for the file system; shorten the path",
}
"""What machine, disk or account can do to a file that is itself as it should be."""

PATIENCE_S = 120.0
"""How long a job waits for another that holds the same folder, s.

Longer than one that is told to end goes on (`boldvision.launcher.GRACE_S`), and than NFS keeps the
locks of a machine that failed (90 s): its rerun starts before that.
"""


def machine_fault(error: OSError, path: str | Path | None = None) -> UserError | None:
    """A sentence for a fault that lies outside the file; None if it is the file's own.

    Parameters
    ----------
    error
        What the operating system, or a library with its error number, said.
    path
        Which file, where the error does not name it.
    """
    advice = MACHINE_FAULTS.get(error.errno or 0)
    if advice is None:
        return None
    name = error.filename or path or "a file"
    return UserError(f"{os.fsdecode(name)}: {os.strerror(error.errno or 0)}: {advice}")


@contextmanager
def reading(path: str | Path, expected: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads `path` into a `UserError`.

    A file that cannot be reached (see `MACHINE_FAULTS`) is not called damaged. A missing package or
    name is never the file's fault, and passes.

    Parameters
    ----------
    path
        The file that is read in the block.
    expected
        What it should be, for example "a NIfTI volume".
    remedy
        What to do if it is missing or another thing, for example "fetch it again".

    Raises
    ------
    UserError
        Anything but a `UserError` was raised in the block.
    """
    try:
        yield
    except (UserError, ImportError, NameError):
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: expected {expected}, found no file; {remedy}") from None
    except Exception as error:
        fault = machine_fault(error, path) if isinstance(error, OSError) else None
        if isinstance(error, MemoryError):
            remedy = f"give the job more memory or, if the file is damaged, {remedy}"
        found = in_one_line(error)
        raise fault or UserError(f"{path}: expected {expected}, found {found}; {remedy}") from error


def in_one_line(error: Exception) -> str:
    """What a library's error says of the file that it read."""
    text = " ".join(str(error).split())
    if "weights_only" in text:  # torch advises to load the file all the same
        return "something that is not tensors alone, which was not loaded"
    if isinstance(error, KeyError | MemoryError):
        return f"{type(error).__name__} {text}".rstrip()
    return text or type(error).__name__


@contextmanager
def only_job(folder: str | Path) -> Iterator[None]:
    """Let one job at a time work in `folder`; the kernel drops the lock when the job ends.

    Raises
    ------
    UserError
        Another job still works there after `PATIENCE_S`.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        deadline, told = time.monotonic() + PATIENCE_S, False
        while not _locked(lock):
            found = f"{folder}: another job works there (process {_holder(lock)})"
            if time.monotonic() > deadline:
                raise UserError(f"{found}; wait for it, or end it, and run again")
            if not told:
                print(f"{found}; waiting {PATIENCE_S:g} s for it", file=sys.stderr, flush=True)
                told = True
            time.sleep(0.1)
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network file systems have no locks
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    return True


def _holder(lock: int) -> str:
    return os.pread(lock, 200, 0).decode(errors="replace") or "unknown"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success.

    The temporary name keeps the suffix, since writers choose their format by it; a rerun after a
    kill begins it anew. On an exception it is removed and `path` is untouched. Whatever the writer
    does, the file has the mode of a new one: readable by others if the umask says so.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    part.unlink(missing_ok=True)
    part.touch()
    mode = part.stat().st_mode
    part.unlink()
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(mode)
        part.replace(path)
    except UserError:
        raise
    except Exception as error:
        if fault := _unwritable(part, path, error):
            raise fault from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _unwritable(part: Path, path: Path, error: Exception) -> UserError | None:
    """Whether no more can be written: NumPy, torch and others fail then without an error number."""
    try:
        if number := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors removes the file
            raise OSError(int(number[1]), "")
        with part.open("ab") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        return machine_fault(fault, path)
    return None


def replace_folder(source: str | Path, target: str | Path) -> None:
    """Rename folder `source` to `target`, which is removed first if it exists."""
    shutil.rmtree(target, ignore_errors=True)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(source).rename(target)


def sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
