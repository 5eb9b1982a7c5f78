"""Checkpoints: whole or absent, checked before they are believed, never among a rule's outputs."""

from __future__ import annotations

import json
import shutil
import sys
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
    its own sha256, ``step-00001000.0123….pt``. With DeepSpeed, whose optimizer is spread over
    processes, accelerate writes and reads it: a folder ``step-00001000`` with a list of digests.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model, optimizer):
        self.folder, self.accelerator = folder, accelerator
        self.model, self.optimizer = model, optimizer
        self.sharded = accelerator.distributed_type.value == "DEEPSPEED"

    def save(self, progress: Progress) -> None:
        """Add the present state, then remove what is older than the one before it."""
        if self.sharded:
            self._save_sharded(progress)
        elif self.accelerator.is_main_process:
            self._save(progress)
        if self.accelerator.is_main_process:
            for old in self._states()[KEPT:]:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        self.accelerator.wait_for_everyone()

    def load(self) -> Progress:
        """Restore the last state that is as it was written; damaged ones are set aside.

        Raises
        ------
        UserError
            A state cannot be read for a reason that lies outside of it.
        """
        chosen: list[Path | None] = [None]
        if self.accelerator.is_main_process:
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
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return Progress(**state["progress"])

    def _states(self) -> list[Path]:
        """The newest first; a name without its digest is an unfinished one."""
        pattern = "step-????????" if self.sharded else "step-????????.*.pt"
        return sorted(self.folder.glob(pattern), reverse=True)

    def _parameters(self) -> dict[str, torch.Tensor]:
        return self.accelerator.unwrap_model(self.model).trained()

    def _save(self, progress: Progress) -> None:
        state = {"progress": asdict(progress), "optimizer": self.optimizer.state_dict()}
        state["model"] = self._parameters()
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        new = self.folder / "new.pt"
        with atomic(new) as part:
            torch.save(state, part)
        new.replace(self.folder / f"step-{progress.step:08d}.{sha256(new)}.pt")

    def _save_sharded(self, progress: Progress) -> None:
        part = self.folder / "part"
        self.accelerator.save_state(str(part))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (part / "progress.json").write_text(json.dumps(asdict(progress)))
            (part / DIGESTS).write_text(json.dumps(_digests(part)))
            replace_folder(part, self.folder / f"step-{progress.step:08d}")

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


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _check(written: object, found: object) -> None:
    if written != found:
        raise UserError("it is not what was written: another sha256")


def _digests(folder: Path) -> dict[str, str]:
    """Sha256 of every other file of a sharded state, by its name in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256(path) for path in files if path.name != DIGESTS
    }
