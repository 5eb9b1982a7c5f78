"""Run a command on GPUs of its own.

Snakemake counts GPUs but never says which: eight jobs of one GPU would all use device 0. A lease
locks free GPUs by UUID, sets CUDA_VISIBLE_DEVICES and becomes the command. The kernel drops the
locks when the command ends, however it ends. The GPUs of a preset CUDA_VISIBLE_DEVICES (Slurm sets
it) are the only ones leased.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from boldvision.errors import UserError
from boldvision.training.environment import announce_processes

LOCKS = Path("/tmp/boldvision-gpus")
LONGEST_WAIT_S = 2.0
REMIND_S = 60.0
"""From one message of a job that waits to the next, s."""


def main(argv: list[str]) -> None:
    """Lease GPUs, then become the command that follows ``--``."""
    options, command = _parse(argv)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the wait as it will end the command
    if options.accelerate:
        command = python_command(command, options.gpus, options.precision, options.deepspeed)
        announce_processes(options.gpus)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(lease(options.gpus, options.locks))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise UserError(f"cannot run {command[0]!r}: {error.strerror}") from error


def lease(count: int, folder: Path = LOCKS) -> list[str]:
    """Lock `count` GPUs for as long as this process lives, waiting until so many are free.

    Parameters
    ----------
    count
        Number of GPUs; 0 returns at once and asks nobody.
    folder
        Where lock files lie: local to the machine, the same for all users who share its GPUs. It
        is made if it does not exist.

    Returns
    -------
    list of str
        UUIDs, fit for CUDA_VISIBLE_DEVICES.

    Raises
    ------
    UserError
        There are fewer GPUs than `count`, they cannot be listed, or `folder` or a file in it is
        not what the users of the GPUs can share.
    """
    if count == 0:
        return []
    pool = gpu_pool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if count > len(pool):
        raise UserError(
            f"{count} GPUs asked for, {len(pool)} exist here ({', '.join(pool) or 'none'}). "
            "Ask for fewer (`gpus_per_job` in the configuration), or check CUDA_VISIBLE_DEVICES."
        )
    _share(folder)
    wait_s, began_s, told = 0.05, time.monotonic(), 0
    while not (leased := _lock_free(count, pool, folder)):
        if time.monotonic() - began_s >= told * REMIND_S:
            since = f" for {told * REMIND_S / 60:.0f} min" if told else ""
            print(
                f"process {os.getpid()} is waiting for {count} of {len(pool)} GPUs to be free"
                f"{since} (locks: {folder})",
                file=sys.stderr,
                flush=True,
            )
            told += 1
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    return leased


def gpu_pool(visible: str | None) -> list[str]:
    """UUIDs of the GPUs named by `visible`, a value of CUDA_VISIBLE_DEVICES; None names all.

    Its entries are indices, UUIDs or the beginnings of UUIDs (CUDA C++ Programming Guide, CUDA
    environment variables). MIG slices are taken as given: nvidia-smi lists whole GPUs here.

    Raises
    ------
    UserError
        nvidia-smi fails, or `visible` names a GPU that it does not list.
    """
    if visible is None:
        return list(_list_gpus())
    names = [name.strip() for name in visible.split(",") if name.strip()]
    listed = {} if all(name.startswith("MIG-") for name in names) else _list_gpus()
    return list(dict.fromkeys(_uuid(name, listed) for name in names))


def python_command(
    arguments: list[str], gpus: int, precision: str = "no", deepspeed: str | None = None
) -> list[str]:
    """Command line that runs Python with `arguments`, one process per GPU.

    One GPU or none needs no launcher, and no DeepSpeed, which divides state among GPUs. With more,
    every setting of ``accelerate launch`` is given, since it reads what is missing from a file in
    the user's home.
    """
    if gpus <= 1:
        return [sys.executable, *arguments]
    several = ["--multi_gpu"]
    if deepspeed is not None:
        several = ["--use_deepspeed", "--deepspeed_config_file", deepspeed]
    settings = {
        "num_processes": gpus,
        "num_machines": 1,
        "gpu_ids": "all",
        "mixed_precision": precision,
        "dynamo_backend": "no",
        "main_process_port": 0,
    }
    launch = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    return [sys.executable, "-m", "accelerate.commands.launch", *several, *launch, *arguments]


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    end = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="python -m boldvision gpu",
        usage="%(prog)s --gpus N [--locks FOLDER] [--accelerate …] -- COMMAND …",
        description="Run COMMAND on N GPUs that no other leased command uses.",
    )
    parser.add_argument("--gpus", type=int, required=True, help="how many; 0 hides them all")
    parser.add_argument(
        "--locks", type=Path, default=LOCKS, help="folder of lock files (default: %(default)s)"
    )
    parser.add_argument(
        "--accelerate",
        action="store_true",
        help="COMMAND is arguments of Python (-m MODULE …), run in one process per GPU",
    )
    parser.add_argument("--precision", choices=["no", "fp16", "bf16"], default="no")
    parser.add_argument("--deepspeed", help="DeepSpeed configuration, used with several GPUs")
    options = parser.parse_args(argv[:end])
    if options.gpus < 0:
        parser.error("--gpus must not be negative")
    if not argv[end + 1 :]:
        parser.error("no command after --")
    return options, argv[end + 1 :]


def _list_gpus() -> dict[str, str]:
    """Index of every GPU, by UUID."""
    query = ["nvidia-smi", "--query-gpu=uuid,index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise UserError(
            "GPUs are asked for but nvidia-smi is not on PATH. Install the NVIDIA driver, or run "
            "on the CPU (`gpus_per_job: 0` in the configuration)."
        ) from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"nvidia-smi failed: {(error.stdout + error.stderr).strip()}") from error
    return dict(line.split(", ") for line in listed.splitlines())


def _uuid(name: str, listed: dict[str, str]) -> str:
    if name.startswith("MIG-"):
        return name
    begins = name.startswith("GPU-")
    known = [uuid for uuid, i in listed.items() if i == name or (begins and uuid.startswith(name))]
    if len(known) != 1:
        gpus = ", ".join(f"{i} ({uuid})" for uuid, i in listed.items())
        raise UserError(
            f"CUDA_VISIBLE_DEVICES names {name!r}, but nvidia-smi lists {gpus or 'no GPU'}. "
            "Unset it, or name GPUs of this machine."
        )
    return known[0]


def _lock_free(count: int, pool: list[str], folder: Path) -> list[str]:
    """Lock `count` GPUs of `pool`, or none; the mutex keeps two jobs from each taking half."""
    mutex = _lock(folder / "mutex", fcntl.LOCK_EX)
    locks: dict[str, int] = {}
    for uuid in pool:
        if len(locks) < count:
            with contextlib.suppress(BlockingIOError):
                locks[uuid] = _lock(folder / uuid.replace("/", "_"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    leased = list(locks) if len(locks) == count else []
    for lock in locks.values():
        if leased:
            os.set_inheritable(lock, True)
        else:
            os.close(lock)
    os.close(mutex)
    return leased


def _lock(path: Path, operation: int) -> int:
    """Lock the file that lies at `path`, not one that was deleted before it was locked."""
    while True:
        try:
            file = _open(path)
        except FileNotFoundError:
            _share(path.parent)
            continue
        try:
            fcntl.flock(file, operation)
            if _lies_at(path, file):
                return file
        except OSError:
            os.close(file)
            raise
        os.close(file)


def _open(path: Path) -> int:
    """Open a lock file, made first if there is none; no link, pipe or other thing is opened."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with contextlib.suppress(FileExistsError), _whatever_umask():
            # Sticky: systemd cleans /tmp by age, held locks too, but for sticky files.
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o1666)
        file = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, "a file that all of them may read", error) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _refusal(path, "a file that all of them may read")
    return file


def _lies_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


def _share(folder: Path) -> None:
    """Make the folder of locks, in which all may write and each may delete their own."""
    expected = "a folder in which all of them may write"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), _whatever_umask():
            folder.mkdir(0o1777)
        a_folder = stat.S_ISDIR(folder.lstat().st_mode)
    except OSError as error:
        raise _refusal(folder, expected, error) from error
    if not a_folder or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise _refusal(folder, expected)


@contextlib.contextmanager
def _whatever_umask() -> Iterator[None]:
    """New files have the mode that is asked for from the start: other users wait for them."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def _refusal(path: Path, expected: str, error: OSError | None = None) -> UserError:
    found = [str(error.strerror)] if error else []
    with contextlib.suppress(OSError):
        status = path.lstat()
        found.append(f"{stat.filemode(status.st_mode)} of user {status.st_uid}")
    return UserError(
        f"{path}: locks of GPUs: the users who share them need {expected}, found "
        f"{', '.join(found)}. Ask its owner to remove it, or give all jobs of the machine another "
        "folder with --locks."
    )
