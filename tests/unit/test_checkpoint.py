"""Checkpoints that are not what was written are set aside; training goes on from a good one."""

import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from decoder_data import checkpoints_of, model_bytes, record_of, train, write_subject
from torch import nn

from boldvision.files import sha256
from boldvision.training.checkpoint import KEPT, Checkpoint, Progress
from boldvision.training.schedule import optimizer_settings

pytestmark = pytest.mark.usefixtures("no_gpu")

SETTINGS = {"steps": 5, "checkpoint_every_s": 0, "log_every": 1}


class Stop(Exception):
    """What stops a run."""


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01")


@pytest.fixture(scope="module")
def undisturbed(generator, subject, folder):
    """Bytes of a model of a run that nobody stopped."""
    train(generator, [subject], folder / "undisturbed", **SETTINGS)
    return model_bytes(folder / "undisturbed")


@pytest.fixture(scope="module")
def left(generator, subject, folder):
    """What a run left that was stopped in its last step, with checkpoints of steps 3 and 4."""

    def stop(step, *schedule):
        if step == 4:
            raise Stop
        return optimizer_settings(step, *schedule)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boldvision.training.loop.optimizer_settings", stop)
        with pytest.raises(Stop):
            train(generator, [subject], folder / "stopped", **SETTINGS)
    work = checkpoints_of(folder / "stopped")
    assert [path.name[:13] for path in states(work)] == ["step-00000003", "step-00000004"]
    return work


def taken_over(left, model):
    """A copy of what was left, as if it was of this model."""
    return shutil.copytree(left, checkpoints_of(model))


def states(work):
    return sorted(work.glob("*/step-*.pt"))


def flip(path):
    """Change one byte of a parameter, in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rename_parameter(path):
    """The file of another library version: whole, but with a parameter of another name."""
    state = torch.load(path, weights_only=True)
    first = next(iter(state["model"]))
    state["model"]["renamed"] = state["model"].pop(first)
    torch.save(state, path)
    path.rename(path.with_name(f"{path.name[:13]}.{sha256(path)}.pt"))


def harm(path):
    """A pickle that runs a command when it is read as one, under the name of its own digest."""

    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {path.parents[3] / 'harmed'}",)

    torch.save(Harm(), path)
    path.rename(path.with_name(f"{path.name[:13]}.{sha256(path)}.pt"))


DAMAGES = {
    "one bit": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "a page": lambda path: path.write_text("<html>Sign in</html>"),
    "renamed": rename_parameter,
    "harm": harm,
}


@pytest.mark.survives(
    "files",
    "The last checkpoint is cut, empty, a foreign file, a malicious pickle, lacks a parameter, or "
    "one bit of it has changed",
    "It is set aside and named; training goes on from the one before, to the same bytes",
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside(
    generator, subject, folder, undisturbed, left, capsys, damage
):
    out = folder / damage
    work = taken_over(left, out)
    DAMAGES[damage](states(work)[-1])
    train(generator, [subject], out, **SETTINGS)
    said = [line for line in capsys.readouterr().err.splitlines() if "a damaged" in line]
    assert [line.partition(": a damaged checkpoint (")[0][-11:] for line in said] == [".pt.damaged"]
    assert record_of(out)["resumed_at"] == 3
    assert model_bytes(out) == undisturbed
    assert not (folder / "harmed").exists()


def test_with_no_good_checkpoint_training_begins_anew(
    generator, subject, folder, undisturbed, left, capsys
):
    out = folder / "none"
    work = taken_over(left, out)
    for path in states(work):
        flip(path)
    train(generator, [subject], out, **SETTINGS)
    assert capsys.readouterr().err.count("another sha256") == KEPT
    assert record_of(out)["resumed_at"] == 0
    assert model_bytes(out) == undisturbed
    assert not work.exists()


@pytest.mark.survives(
    "jobs",
    "The code of training was edited, or a target was made anew, before a killed job is run again",
    "Its checkpoint is of another model: training begins anew",
)
@pytest.mark.parametrize("changed", ["nothing", "code", "target"])
def test_a_checkpoint_of_other_code_or_targets_is_not_gone_on_from(
    generator, subject, folder, left, monkeypatch, changed
):
    out = folder / f"changed-{changed}"
    taken_over(left, out)
    if changed == "code":
        monkeypatch.setattr("boldvision.decoders.stage.fingerprint", lambda *modules: "edited")
    if changed == "target":
        monkeypatch.setattr("boldvision.decoders.base.target_digest", lambda path: "anew")
    train(generator, [subject], out, **SETTINGS)
    assert (record_of(out)["resumed_at"] > 0) is (changed == "nothing")


def test_what_a_kill_left_unfinished_is_not_taken_for_a_checkpoint(
    generator, subject, folder, undisturbed, left
):
    """Killed after the file was written, before it had its name."""
    out = folder / "unnamed"
    work = taken_over(left, out)
    last = states(work)[-1]
    last.rename(last.with_name("new.pt"))
    train(generator, [subject], out, **SETTINGS)
    assert record_of(out)["resumed_at"] == 3
    assert model_bytes(out) == undisturbed


@pytest.mark.survives(
    "files",
    "A checkpoint cannot be read because the disk or the account fails",
    "Training stops and says so; the checkpoint is not called damaged and stays",
)
def test_a_fault_of_the_disk_is_not_damage(generator, subject, folder, left, monkeypatch, capsys):
    work = taken_over(left, folder / "disk")

    def fails(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("boldvision.training.checkpoint.sha256", fails)
    with pytest.raises(AssertionError):
        train(generator, [subject], folder / "disk", **SETTINGS)
    assert "the disk or network file system failed" in capsys.readouterr().err
    assert len(states(work)) == KEPT
    assert not list(work.glob("*/*.damaged"))


class Sharded:
    """Accelerate with DeepSpeed, as far as checkpoints know it: every process writes a file."""

    distributed_type = SimpleNamespace(value="DEEPSPEED")
    is_main_process = True

    def __init__(self, network):
        self.network = network

    def save_state(self, folder):
        os.makedirs(f"{folder}/shards", exist_ok=True)
        torch.save(self.network.state_dict(), f"{folder}/shards/0.pt")

    def load_state(self, folder):
        self.network.load_state_dict(torch.load(f"{folder}/shards/0.pt", weights_only=True))

    def wait_for_everyone(self):
        pass


@pytest.mark.survives(
    "files",
    "A file of a sharded checkpoint (DeepSpeed) has changed or is missing",
    "The checkpoint is set aside; training goes on from the one before",
)
@pytest.mark.parametrize("damage", ["one bit", "removed", "no digests"])
def test_a_damaged_sharded_checkpoint_is_set_aside(tmp_path, capsys, damage):
    network = nn.Linear(2, 2)
    checkpoint = Checkpoint(tmp_path / "states", Sharded(network), network, None, 0)
    assert checkpoint.load() == Progress()
    for step in (1, 2, 3):
        nn.init.constant_(network.weight, step)
        checkpoint.save(Progress(step))
    assert sorted(path.name[-1] for path in checkpoint.folder.iterdir()) == ["2", "3"]
    shard = checkpoint.folder / "step-00000003" / "shards" / "0.pt"
    if damage == "one bit":
        flip(shard)
    else:
        (shard if damage == "removed" else shard.parents[1] / "sha256.json").unlink()
    assert checkpoint.load() == Progress(2)
    assert network.weight.detach().unique().tolist() == [2]
    assert "step-00000003.damaged: a damaged checkpoint (" in capsys.readouterr().err
    assert checkpoint.load() == Progress(2)
