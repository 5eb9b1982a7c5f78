"""Checkpoints are written beside the training, by time, and read through a map of the file."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from boldvision.errors import UserError
from boldvision.files import atomic, sha256
from boldvision.training import checkpoint as checkpoint_module
from boldvision.training.checkpoint import KEPT, Checkpoint, Progress


class Alone:
    """Accelerate with one process, as far as checkpoints know it."""

    distributed_type = SimpleNamespace(value="NO")
    is_main_process = True
    scaler = None

    def unwrap_model(self, model):
        return model


class Network(nn.Linear):
    """Some parameters, the first of them frozen."""

    def __init__(self):
        super().__init__(3, 4)
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def trained(self):
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}


def training(folder, every_s=0.0, accelerator=None):
    """Network, optimizer and their checkpoint, as at the start of a job."""
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.1)
    accelerator = accelerator or Alone()
    return network, optimizer, Checkpoint(folder, accelerator, network, optimizer, every_s)


def update(network, optimizer, step):
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
    network(inputs).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def states(folder):
    return sorted(folder.glob("step-*.pt"))


@pytest.fixture
def slow(monkeypatch):
    """Writing that waits until it may."""
    may, save = threading.Event(), torch.save

    def write(*arguments):
        assert may.wait(20)
        save(*arguments)

    monkeypatch.setattr(checkpoint_module.torch, "save", write)
    yield may
    may.set()


def test_training_goes_on_while_a_state_is_written(tmp_path, slow):
    network, optimizer, checkpoint = training(tmp_path)
    progress = Progress(losses=[{"step": 0, "loss": 1.0}])
    for step in range(2):
        update(network, optimizer, step)
    progress.step = 2
    checkpoint.save(progress)
    saved = {name: value.clone() for name, value in network.trained().items()}
    for step in range(2, 5):
        update(network, optimizer, step)
    progress.step, progress.losses[0]["loss"] = 5, 0.0
    assert not states(tmp_path)
    slow.set()
    checkpoint.close()
    (path,) = states(tmp_path)
    assert path.name == f"step-00000002.{sha256(path)}.pt"

    resumed, again, checkpoint = training(tmp_path)
    assert checkpoint.load() == Progress(2, [{"step": 0, "loss": 1.0}])
    assert all(torch.equal(value, saved[name]) for name, value in resumed.trained().items())
    for step in range(2, 5):
        update(resumed, again, step)
    assert torch.equal(resumed.weight, network.weight)


def test_a_second_state_waits_for_the_first(tmp_path, slow):
    network, optimizer, checkpoint = training(tmp_path)
    update(network, optimizer, 0)
    checkpoint.save(Progress(1))
    threading.Timer(0.2, slow.set).start()
    checkpoint.save(Progress(2))
    assert [path.name[:13] for path in states(tmp_path)][:1] == ["step-00000001"]
    for step in range(3, 6):
        checkpoint.save(Progress(step))
    checkpoint.close()
    assert [path.name[:13] for path in states(tmp_path)] == ["step-00000004", "step-00000005"]
    assert len(list(tmp_path.iterdir())) == KEPT


def test_the_clock_of_the_main_process_says_when(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now)
    checkpoint = training(tmp_path, every_s=30)[2]
    other = training(tmp_path, 0, accelerator := Alone())[2]
    accelerator.is_main_process = False
    assert not checkpoint.due()
    now += 30
    assert checkpoint.due()
    assert not other.due()
    checkpoint.save(Progress(1))
    other.save(Progress(1))
    assert not checkpoint.due()
    now += 29
    assert not checkpoint.due()
    now += 1
    assert checkpoint.due()
    checkpoint.close()
    other.close()
    assert len(states(tmp_path)) == 1


@contextmanager
def on_full_disk(path):
    with atomic(path) as part:
        part.symlink_to("/dev/full")
        yield part


@pytest.mark.survives(
    "files",
    "The disk is full when a checkpoint is written beside the training",
    "The training stops with its next step, says so, and keeps the checkpoint before",
)
@pytest.mark.parametrize("asked", ["due", "save", "close"])
def test_a_full_disk_ends_the_training(tmp_path, monkeypatch, asked):
    network, optimizer, checkpoint = training(tmp_path)
    update(network, optimizer, 0)
    checkpoint.save(Progress(1))
    assert checkpoint.due()
    checkpoint.save(Progress(2))

    checkpoint._finish()
    monkeypatch.setattr(checkpoint_module, "atomic", on_full_disk)
    checkpoint.save(Progress(3))
    deadline = time.monotonic() + 20
    while asked == "due" and not checkpoint._writing.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    ask = {"due": checkpoint.due, "save": lambda: checkpoint.save(Progress(4))}
    with pytest.raises(UserError, match=r"new.pt: No space left on device: the disk is full"):
        ask.get(asked, checkpoint.close)()
    checkpoint.close()
    assert [path.name[:13] for path in states(tmp_path)] == ["step-00000001", "step-00000002"]
    assert len(list(tmp_path.iterdir())) == KEPT


@pytest.mark.survives(
    "jobs",
    "A training is killed while a checkpoint is written",
    "It goes on from the one before; what was half written is removed",
)
def test_what_a_kill_left_is_removed(tmp_path):
    network, optimizer, checkpoint = training(tmp_path)
    update(network, optimizer, 0)
    checkpoint.save(Progress(1))
    checkpoint.close()
    (tmp_path / ".new.part.pt").write_bytes(b"half of a state")
    (tmp_path / "new.pt").write_bytes(states(tmp_path)[0].read_bytes())
    (tmp_path / "part").mkdir()
    (tmp_path / "step-00000000.pt.damaged").touch()
    assert training(tmp_path)[2].load() == Progress(1)
    assert sorted(path.name[:13] for path in tmp_path.iterdir()) == [
        "step-00000000", "step-00000001",
    ]  # fmt: skip


def test_a_state_is_mapped_while_it_is_read_and_no_longer(tmp_path):
    network, optimizer, checkpoint = training(tmp_path)
    update(network, optimizer, 0)
    checkpoint.save(Progress(1))
    checkpoint.close()
    (path,) = states(tmp_path)

    def mapped():
        return str(path) in Path("/proc/self/maps").read_text()

    state = checkpoint_module._read(path)
    assert mapped()
    del state
    network, optimizer, checkpoint = training(tmp_path)
    checkpoint.load()
    assert not mapped()
    update(network, optimizer, 1)
