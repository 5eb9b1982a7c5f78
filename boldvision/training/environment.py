"""Which variables of the environment a training believes.

Accelerate, torch and DeepSpeed read how many processes there are, and settings too, from variables
that a shell, a batch system or an earlier program may have left. Only our launcher's are kept.
"""

from __future__ import annotations

import os

PROCESSES = "BOLDVISION_PROCESSES"
"""Set by the launcher: how many processes share the training that it starts."""

NAMES = {
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "CROSS_RANK",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "CROSS_SIZE",
    "MASTER_ADDR", "MASTER_PORT", "ROLE_NAME", "FORK_LAUNCHED",
}  # fmt: skip
PREFIXES = (
    "ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "TORCHELASTIC_", "PET_",
    "OMPI_", "PMI_", "PMIX_", "MPI_", "MV2_",
)  # fmt: skip


def announce_processes(count: int) -> None:
    """Called by the launcher of `count` processes, before it starts them: it begins afresh."""
    _forget()
    if count > 1:
        os.environ[PROCESSES] = str(count)


def believe_launcher() -> None:
    """Called by the stage: forget all that speaks of other processes, unless it is our launcher's.

    It is if it agrees with `PROCESSES`, which our launcher alone sets.
    """
    announced = os.environ.get(PROCESSES)
    if announced is None or announced != os.environ.get("WORLD_SIZE"):
        _forget()


def processes() -> int:
    """How many processes share this training."""
    return int(os.environ.get(PROCESSES, "1"))


def is_main_process() -> bool:
    """Whether this is the process that locks and writes."""
    return os.environ.get("RANK", "0") == "0"


def _forget() -> None:
    for name in list(os.environ):
        if name in NAMES or name == PROCESSES or name.startswith(PREFIXES):
            del os.environ[name]
