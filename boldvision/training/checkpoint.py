"""Checkpoints: whole or absent, never among a rule's outputs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator

from boldvision.files import atomic, replace_folder


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
    """State of an optimization in `folder`: trained parameters, optimizer and progress.

    The learning rate, the order of samples and all noise are functions of the step, so nothing
    else is needed to go on exactly as if nothing had happened. With DeepSpeed, whose optimizer is
    spread over processes, accelerate writes and reads the state.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model, optimizer):
        self.folder, self.accelerator = folder, accelerator
        self.model, self.optimizer = model, optimizer
        self.sharded = accelerator.distributed_type.value == "DEEPSPEED"

    def save(self, progress: Progress) -> None:
        """Replace the checkpoint by the present state."""
        if self.sharded:
            self._save_sharded(progress)
        elif self.accelerator.is_main_process:
            state = {"progress": asdict(progress), "optimizer": self.optimizer.state_dict()}
            state["model"] = self.accelerator.unwrap_model(self.model).trained()
            if self.accelerator.scaler is not None:
                state["scaler"] = self.accelerator.scaler.state_dict()
            with atomic(self.folder / "state.pt") as part:
                torch.save(state, part)
        self.accelerator.wait_for_everyone()

    def load(self) -> Progress:
        """Restore the checkpoint, if there is one."""
        if self.sharded:
            return self._load_sharded()
        path = self.folder / "state.pt"
        if not path.is_file():
            return Progress()
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return Progress(**state["progress"])

    def _save_sharded(self, progress: Progress) -> None:
        part = self.folder.with_name(f"{self.folder.name}.part")
        self.accelerator.save_state(str(part))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (part / "progress.json").write_text(json.dumps(asdict(progress)))
            replace_folder(part, self.folder)

    def _load_sharded(self) -> Progress:
        path = self.folder / "progress.json"
        if not path.is_file():
            return Progress()
        self.accelerator.load_state(str(self.folder))
        return Progress(**json.loads(path.read_text()))
