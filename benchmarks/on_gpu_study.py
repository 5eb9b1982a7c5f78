"""What the parts of ``on_gpu.py`` work with: configurations, random data, a stage of training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from boldvision import cli
from boldvision.benchmark.data import Parts, random_subject, usable
from boldvision.benchmark.targets import measure_target
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.decoders.base import SubjectData
from boldvision.decoders.record import PARAMETERS, read_record
from boldvision.jobs import as_json
from boldvision.plan import Plan
from boldvision.plugins import merge
from boldvision.shipped import ROOT

DEFAULT, NSD = (str(ROOT / "config" / name) for name in ("config.yaml", "nsd.yaml"))
RUN, SUBJECT, STAGE = "dynadiff", "subj01", "train"
EXACT = {  # without dropout, whose numbers are drawn on the device
    "brain_module": {"hidden": 64, "dropout": 0.0},
    "training": {"steps": 12, "batch_size": 16, "device_batch_size": 8, "learning_rate": 1e-3,
                 "warmup_steps": 4, "log_every": 1, "checkpoint_every_s": 1e6},
}  # fmt: skip
TINY = {
    "brain_module": {"hidden": 16},
    "training": {"batch_size": 8, "device_batch_size": 8, "precision": "bf16"},
    "reconstruction": {"batch_size": 4, "steps": 2, "precision": "bf16"},
}


@dataclass
class Study:
    """Configurations and data.

    Attributes
    ----------
    folder : Path
        For what is written.
    small : bool
        The miniature's sizes everywhere, and no measuring for long.
    """

    folder: Path
    small: bool

    @property
    def device(self) -> str:
        """Where all is computed, but for what is compared with the CPU."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def seconds(self) -> float:
        """That a speed is measured for."""
        return 0.05 if self.small else 5.0

    @cached_property
    def exact(self) -> Plan:
        """The miniature, with a run whose losses can be compared."""
        return _plan([DEFAULT], {"runs": {RUN: EXACT}})

    @cached_property
    def large(self) -> Plan:
        """Real data; random weights where the generator's are not there."""
        files = [DEFAULT] if self.small else [DEFAULT, NSD]
        changes: dict[str, Any] = {"runs": {RUN: TINY}} if self.small else {}
        plan = _plan(files, changes)
        (name,) = plan.config.run(RUN).generator_names()
        found, _ = usable(plan.config.generators[name], self.folder / name)
        place = {"folder": found.folder, "repository": None, "revision": None}
        return _plan(files, changes | {"generators": {name: place}})

    @cached_property
    def subject(self) -> SubjectData:
        """Random data of the miniature's sizes, with targets."""
        config = self.exact.config
        data = random_subject(self.folder / "subject", config, RUN, SUBJECT, 16)
        for name in data.targets:
            measure_target(self.exact, name, self.parts, data)
        return data

    @property
    def parts(self) -> Parts:
        """What the comparable run needs, which ships."""
        parts = Parts(self.exact.config, self.folder)
        parts.add(self.exact.config.run(RUN))
        return parts

    def command(self, model: Path, **training: Any) -> list[str]:
        """Arguments of ``python -m boldvision`` that train the comparable run."""
        config = self.exact.config
        run = config.run(RUN)
        own = merge(run.model_dump(mode="json"), {"training": training})
        settings = as_json(
            run=own,
            preprocessing=self.subject.preprocessing,
            generators=self.parts.generators,
            window=config.window("main"),
        )
        places = asdict(self.subject)
        del places["name"], places["preprocessing"]
        data = json.dumps({SUBJECT: places}, default=str)
        told = ["--settings", settings, "--data", data, "--seed", "0"]
        return [f"{run.decoder}.{STAGE}", *told, "--out", str(model / STAGE)]

    def train(self, name: str, **training: Any) -> Path:
        """Train here, as in a process that just began; the model's folder."""
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        model = self.folder / name
        if cli.main(self.command(model, **training)):
            raise RuntimeError(f"{name}: training failed; its message is above")
        return model

    def train_on_cpu(self, name: str, **training: Any) -> Path:
        """The same in a process that sees no card, or here where there is none."""
        if self.device == "cpu":
            return self.train(name, **training)
        model = self.folder / name
        with ended(self.start(model, {"CUDA_VISIBLE_DEVICES": ""}, **training)) as (process,):
            if process.wait():
                raise RuntimeError(f"{name}: training failed; its message is above")
        return model

    def start(
        self, model: Path, variables: Mapping[str, str] | None = None, **training: Any
    ) -> subprocess.Popen:
        """Begin to train in a process of its own, with these variables of the environment.

        On as many threads as here: their number is seen in the last bits of a CPU's sums.
        """
        script = str(Path(__file__).with_name("on_gpu_process.py"))
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        here = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())}
        return subprocess.Popen(
            [sys.executable, script, *self.command(model, **training)],
            cwd=ROOT,
            env=os.environ | here | (variables or {}),
        )


@contextmanager
def ended(*processes: subprocess.Popen) -> Iterator[tuple[subprocess.Popen, ...]]:
    """None of them goes on after the block."""
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def losses(model: Path) -> torch.Tensor:
    """Loss of every step."""
    return torch.tensor([line["loss"] for line in read_record(model / STAGE)["losses"]])


def parameters(model: Path) -> dict[str, torch.Tensor]:
    """What was trained."""
    return load_file(model / STAGE / PARAMETERS)


def difference(one: Path, other: Path) -> float:
    """Largest difference of a parameter, relative to the largest of its tensor; 0: equal bits."""
    left, right = parameters(one), parameters(other)
    return max(
        float((left[name] - right[name]).abs().max() / left[name].abs().max().clamp_min(1e-12))
        for name in left
    )


def _plan(files: list[str], changes: dict[str, Any]) -> Plan:
    return Plan(load_config(merge(read_values(files), changes)))
