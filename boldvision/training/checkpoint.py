"""Checkpoints: whole or absent, checked before they are believed, never among a rule's outputs.

One is written beside the training, which waits for no more than a copy of the state to the memory
of the host; it is read through a map of the file, which the processes of a machine share.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from boldvision.errors import UserError
from boldvision.files import atomic, in_one_line, replace_folder, sha256
from boldvision.parameters import check_parameters, load_parameters

DAMAGE = (UserError, UnpicklingError, KeyError, ValueError, FileNotFoundError)
"""What is said of a state that is not as it was written; not of a disk or memory that fails."""

KEPT = 2
"""Checkpoints that are kept: the last, and one to go back to should it be damaged."""

DIGESTS = "sha256.json"
"""Of a sharded state, written last."""

NEW = "new.pt"
"""A state whose digest is not known yet."""

PART = "part"
"""A sharded state that is not whole yet."""


@dataclass
class Progress:
    """How far an optimization has come.

    Attributes
    ----------
    step : int
        Finished steps.
    losses : list of dict
        The loss curve so far.
    unlogged : float
        Sum of the losses of the steps that the curve does not show yet.
    """

    step: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)
    unlogged: float = 0.0


class Checkpoint:
    """States of an optimization in `folder`: trained parameters, optimizer and progress.

    The learning rate, the order of samples and all noise are functions of the step, so nothing
    else is needed to go on exactly as if nothing had happened. A state is a file whose name ends in
    its own sha256, ``step-00001000.0123….pt``; the main process alone writes it, from a copy in its
    memory, while the training goes on. With DeepSpeed, whose optimizer is spread over processes,
    accelerate writes and reads it, and the training waits: a folder ``step-00001000`` with a list
    of digests.

    Parameters
    ----------
    folder : Path
    accelerator : Accelerator
    model, optimizer
        As they are trained, on the accelerator's device.
    every_s : float
        Seconds between two states.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model, optimizer, every_s: float):
        self.folder, self.accelerator = folder, accelerator
        self.model, self.optimizer = model, optimizer
        self.sharded = accelerator.distributed_type.value == "DEEPSPEED"
        self.every_s, self._last = every_s, time.monotonic()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def due(self) -> bool:
        """Whether it is time for the next state, by the clock of the main process alone.

        Raises
        ------
        UserError
            The last state could not be written.
        """
        if not self.accelerator.is_main_process:
            return False
        if self._writing is not None and self._writing.done():
            self._finish()
        return time.monotonic() - self._last >= self.every_s

    def save(self, progress: Progress) -> None:
        """Take the present state; it is written, and older ones are removed, in a thread.

        Called on every process. A second state waits for the first to be written.

        Raises
        ------
        UserError
            The state before could not be written.
        """
        if self.sharded:
            self._save_sharded(progress)
        elif self.accelerator.is_main_process:
            self._finish()
            self._writing = self._writer.submit(self._write, self._copy(progress), progress.step)
        self._last = time.monotonic()

    def close(self) -> None:
        """Wait until the last state is written.

        Raises
        ------
        UserError
            It could not be.
        """
        self._writer.shutdown()
        self._finish()

    def load(self) -> Progress:
        """Restore the last state that is as it was written; damaged ones are set aside.

        Nothing of the file stays mapped: it can be removed, and its place on the disk is free.

        Raises
        ------
        UserError
            A state cannot be read for a reason that lies outside of it.
        """
        chosen: list[Path | None] = [None]
        if self.accelerator.is_main_process:
            self._remove_unfinished()
            chosen = [next((path for path in self._states() if self._is_sound(path)), None)]
        (path,) = broadcast_object_list(chosen)
        if path is None:
            return Progress()
        if self.sharded:
            self.accelerator.load_state(str(path))
            return Progress(**json.loads((path / "progress.json").read_text()))
        state = _read(path)
        load_parameters(self._parameters(), state["model"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        for values in self.optimizer.state.values():  # on a CPU they are the map itself
            for name, value in values.items():
                values[name] = value.clone() if value.device.type == "cpu" else value
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return Progress(**state["progress"])

    def _states(self) -> list[Path]:
        """The newest first; a name without its digest is an unfinished one."""
        pattern = "step-????????" if self.sharded else "step-????????.*.pt"
        return sorted(self.folder.glob(pattern), reverse=True)

    def _parameters(self) -> dict[str, torch.Tensor]:
        return self.accelerator.unwrap_model(self.model).trained()

    def _copy(self, progress: Progress) -> dict[str, Any]:
        """The present state, in memory of its own on the host: as large as its file."""
        state = {"progress": asdict(progress), "optimizer": self.optimizer.state_dict()}
        state["model"] = self._parameters()
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        return _on_host(state)

    def _write(self, state: dict[str, Any], step: int) -> None:
        new = self.folder / NEW
        with atomic(new) as part, _HashedFile(part) as file:
            torch.save(state, file)
        new.replace(self.folder / f"step-{step:08d}.{file.sha256.hexdigest()}.pt")
        self._remove_old()

    def _finish(self) -> None:
        """Wait for the state that is being written; raise what went wrong, once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _remove_old(self) -> None:
        for old in self._states()[KEPT:]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()

    def _remove_unfinished(self) -> None:
        """What a job that was killed while it wrote has left: as large as a state."""
        for left in set(self.folder.glob("*.pt")) - set(self._states()):
            left.unlink()
        shutil.rmtree(self.folder / PART, ignore_errors=True)

    def _save_sharded(self, progress: Progress) -> None:
        part = self.folder / PART
        self.accelerator.save_state(str(part))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (part / "progress.json").write_text(json.dumps(asdict(progress)))
            (part / DIGESTS).write_text(json.dumps(_digests(part)))
            replace_folder(part, self.folder / f"step-{progress.step:08d}")
            self._remove_old()
        self.accelerator.wait_for_everyone()

    def _is_sound(self, path: Path) -> bool:
        """Whether a state is as it was written, and of this model; otherwise it is set aside."""
        try:
            if self.sharded:
                _check(json.loads((path / DIGESTS).read_text()), _digests(path))
            else:
                _check(path.name.split(".")[1], sha256(path))
                check_parameters(self._parameters(), _read(path)["model"], path)
        except DAMAGE as error:
            aside = path.with_name(f"{path.name}.damaged")
            replace_folder(path, aside)
            print(
                f"{aside}: a damaged checkpoint ({in_one_line(error)}) is set aside; training goes "
                "on from the one before, or begins anew",
                file=sys.stderr,
            )
            return False
        return True


class _HashedFile(io.BufferedWriter):
    """A file that is hashed while it is written: it is not read again for that."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path, "w"))
        self.sha256 = hashlib.sha256()

    def write(self, content: Any, /) -> int:
        self.sha256.update(content)
        return super().write(content)


def _on_host(value: Any) -> Any:
    """A copy of everything that training could change, its tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_host(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_on_host(part) for part in value]
    return value


def _read(path: Path) -> dict[str, Any]:
    """A state, its tensors mapped: what is not touched is not read, and no process has its own."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _check(written: object, found: object) -> None:
    if written != found:
        raise UserError("it is not what was written: another sha256")


def _digests(folder: Path) -> dict[str, str]:
    """Sha256 of every other file of a sharded state, by its name in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256(path) for path in files if path.name != DIGESTS
    }
