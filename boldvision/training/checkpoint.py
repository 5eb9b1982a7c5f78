"""Checkpoints: whole or absent, never among a rule's outputs."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from boldvision.files import atomic, replace_folder


class Checkpoint:
    """State of an optimization in `folder`: trained parameters, optimizer and step.

    The learning rate, the order of samples and all noise are functions of the step, so nothing
    else is needed to go on exactly as if nothing had happened. With DeepSpeed, whose optimizer is
    spread over processes, accelerate writes and reads the state.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model, optimizer):
        self.folder, self.accelerator = folder, accelerator
        self.model, self.optimizer = model, optimizer
        self.sharded = accelerator.distributed_type.value == "DEEPSPEED"

    def save(self, step: int) -> None:
        """Replace the checkpoint by the present state after `step` steps."""
        if self.sharded:
            self._save_sharded(step)
        elif self.accelerator.is_main_process:
            state = {"step": step, "optimizer": self.optimizer.state_dict()}
            state["model"] = self.accelerator.unwrap_model(self.model).trained()
            if self.accelerator.scaler is not None:
                state["scaler"] = self.accelerator.scaler.state_dict()
            with atomic(self.folder / "state.pt") as part:
                torch.save(state, part)
        self.accelerator.wait_for_everyone()

    def load(self) -> int:
        """Restore the checkpoint, if there is one; return the number of finished steps."""
        if self.sharded:
            return self._load_sharded()
        path = self.folder / "state.pt"
        if not path.is_file():
            return 0
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return state["step"]

    def _save_sharded(self, step: int) -> None:
        part = self.folder.with_name(f"{self.folder.name}.part")
        self.accelerator.save_state(str(part))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (part / "step").write_text(str(step))
            replace_folder(part, self.folder)

    def _load_sharded(self) -> int:
        if not (self.folder / "step").is_file():
            return 0
        self.accelerator.load_state(str(self.folder))
        return int((self.folder / "step").read_text())
