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
import subprocess
import sys
import time
from pathlib import Path

from boldvision.errors import UserError

LOCKS = Path("/tmp/boldvision-gpus")
LONGEST_WAIT_S = 2.0


def main(argv: list[str]) -> None:
    """Lease GPUs, then become the command that follows ``--``."""
    options, command = _parse(argv)
    if options.accelerate:
        command = python_command(command, options.gpus, options.precision, options.deepspeed)
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
        Where lock files lie: local to the machine, the same for all who share its GPUs.

    Returns
    -------
    list of str
        UUIDs, fit for CUDA_VISIBLE_DEVICES.

    Raises
    ------
    UserError
        There are fewer GPUs than `count`, or they cannot be listed.
    """
    if count == 0:
        return []
    pool = gpu_pool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if count > len(pool):
        raise UserError(
            f"{count} GPUs asked for, {len(pool)} exist here ({', '.join(pool) or 'none'}). "
            "Ask for fewer (`gpus_per_job` in the configuration), or check CUDA_VISIBLE_DEVICES."
        )
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o777)  # users who share the GPUs share the locks, whatever the umask
    wait_s = 0.05
    while not (leased := _lock_free(count, pool, folder)):
        if wait_s == 0.05:
            print(f"waiting for {count} of {len(pool)} GPUs to be free", file=sys.stderr)
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
    file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, operation)
    except OSError:
        os.close(file)
        raise
    return file
