"""The optimization: its schedule, its batches, and that it goes on exactly where it stopped."""

import json
import re
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest
import torch
from decoder_data import (
    NSD_PREP,
    REPOSITORY,
    TWO_PROCESSES,
    WINDOW,
    checkpoints_of,
    kill_when,
    model_bytes,
    parameters_of,
    record_of,
    run_settings,
    start,
    train,
    train_arguments,
    training_settings,
    write_subject,
)

from boldvision import cli
from boldvision.config import Window
from boldvision.decoders.base import SubjectData
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.decoders.dynadiff.settings import Run, Training
from boldvision.errors import UserError
from boldvision.generators.base import load_generator
from boldvision.seeds import derive
from boldvision.targets.base import TargetFile
from boldvision.training.loop import AGREE_EVERY, INTERRUPTED, deepspeed_config
from boldvision.training.schedule import ShuffledBatches, learning_rate, micro_batches
from boldvision.trials.windows import load_windows

LONG = 30
"""Steps of a run that is stopped on the way."""

LOG_EVERY = 5
"""More than the steps between checkpoints: a resumed run is in the middle of a line."""


pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def data(folder):
    return [
        write_subject(folder, "subj01", n_images=8, n_voxels=5),
        write_subject(folder, "subj02", n_images=4, n_voxels=4, first_image=101),
    ]


def trained(generator, data, out, **settings):
    """Parameters of a model trained here."""
    train(generator, data, out, **settings)
    return parameters_of(out)


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.fixture(scope="module")
def undisturbed(generator, data, folder):
    """Bytes of the model and loss curve of a run that nobody stopped."""
    train(generator, data, folder / "undisturbed", steps=LONG, log_every=LOG_EVERY)
    assert not checkpoints_of(folder / "undisturbed").exists()
    return result(folder / "undisturbed")


def result(out):
    losses = record_of(out)["losses"]
    assert [line["step"] for line in losses] == list(range(LOG_EVERY, LONG + 1, LOG_EVERY))
    return model_bytes(out), losses


@pytest.fixture(scope="module")
def short(generator, data, folder):
    """Parameters after a few steps without dropout, one process, no accumulation."""
    return trained(generator, data, folder / "short", dropout=0.0, steps=4)


def test_learning_rate_rises_linearly_then_falls_as_a_cosine():
    rates = [learning_rate(step, 2.0, 10, 110) for step in range(110)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 5)
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[35] == pytest.approx(2 * 0.5 * (1 + np.cos(np.pi / 4)))
    assert 0 < rates[-1] < 0.001
    assert np.all(np.diff(rates[10:]) < 0)
    assert learning_rate(0, 2.0, 0, 5) == 2.0


@pytest.mark.parametrize(("samples", "batch"), [(10, 4), (10, 5), (7, 10), (3, 10), (12, 12)])
def test_every_epoch_shows_every_sample_once(samples, batch):
    batches = ShuffledBatches(samples, batch, seed=0)
    shown = np.concatenate([batches[step] for step in range(5 * samples)])
    assert len(shown) == 5 * samples * batch
    epochs = shown.reshape(-1, samples)
    assert np.array_equal(np.sort(epochs), np.tile(np.arange(samples), (len(epochs), 1)))
    assert len(np.unique(epochs, axis=0)) > 1


def test_a_batch_depends_on_seed_and_step_alone():
    batches = ShuffledBatches(10, 4, seed=0)
    forward = [batches[step] for step in range(8)]
    backward = [ShuffledBatches(10, 4, seed=0)[step] for step in reversed(range(8))][::-1]
    assert np.array_equal(forward, backward)
    assert not np.array_equal(forward, [ShuffledBatches(10, 4, seed=1)[step] for step in range(8)])


@pytest.mark.parametrize(
    ("batch", "device", "processes", "size"),
    [(320, 40, 8, 40), (320, 40, 1, 40), (320, 64, 2, 40), (64, 64, 1, 64), (7, 4, 1, 1)],
)
def test_processes_share_a_batch_in_equal_pieces(batch, device, processes, size):
    pieces = [micro_batches(batch, device, process, processes) for process in range(processes)]
    assert len({len(own) for own in pieces}) == 1
    rows = np.concatenate([np.arange(batch)[piece] for own in pieces for piece in own])
    assert np.array_equal(rows, np.arange(batch))
    assert {piece.stop - piece.start for own in pieces for piece in own} == {size}


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match=r"batch_size is 10; expected a multiple of the 4"):
        micro_batches(10, 5, 0, 4)


@pytest.mark.survives(
    "jobs",
    "Training is killed with SIGKILL",
    "It goes on from its last checkpoint, to the same bytes and the same loss curve",
)
def test_a_killed_run_resumes_to_the_same_bytes(generator, data, folder, undisturbed):
    out = folder / "killed"
    settings = {"steps": LONG, "log_every": LOG_EVERY}
    command = train_arguments(generator, data, out, **settings)
    process = start(command, stderr=subprocess.DEVNULL)
    checkpoint = checkpoints_of(out)
    kill_when(lambda: list(checkpoint.glob("*/step-*.pt")), process)
    assert not (out / "train").exists()
    train(generator, data, out, **settings)
    assert 0 < record_of(out)["resumed_at"] < LONG
    assert result(out) == undisturbed
    assert not checkpoint.exists()


@pytest.mark.survives(
    "jobs",
    "Training gets SIGTERM, as from a batch system",
    "It finishes its step, saves a checkpoint, and goes on from there to the same bytes",
)
def test_sigterm_saves_and_the_run_resumes_to_the_same_bytes(generator, data, folder, undisturbed):
    out = folder / "terminated"
    settings = {"steps": LONG, "log_every": LOG_EVERY, "checkpoint_every_s": 1000}
    command = train_arguments(generator, data, out, **settings)
    process = start(command, stderr=subprocess.PIPE)
    said = b""
    while f"0/{LONG}".encode() not in said:  # the bar: the first step begins
        said += (byte := process.stderr.read(1))
        assert byte, said.decode()
    process.terminate()
    said += process.stderr.read()
    assert process.wait() == INTERRUPTED, said.decode()
    assert b"Traceback" not in said
    assert not (out / "train").exists()
    train(generator, data, out, **settings)
    assert 0 < record_of(out)["resumed_at"] < LONG
    assert result(out) == undisturbed


def test_data_are_told_apart_by_their_trials_and_the_sessions_that_are_used(tmp_path):
    trials, split = tmp_path / "trials.parquet", tmp_path / "split.parquet"
    data = SubjectData("subj01", trials, split, NSD_PREP, tmp_path / "images.h5", tmp_path, {})
    data.trials.write_text("1")
    data.split.write_text("1")
    reports = [tmp_path / f"session0{session}.json" for session in (1, 2)]
    reports[0].write_text("600")
    before, of_one = data.contents(), data.contents(sessions=1)
    reports[1].write_text("600")
    assert data.contents() != before
    assert data.contents(sessions=1) == of_one
    reports[0].write_text("601")
    assert data.contents(sessions=1) != of_one
    reports[0].write_text("600")
    for file in (data.trials, data.split):
        file.write_text("2")
        assert data.contents(sessions=1) != of_one
        file.write_text("1")
    assert data.contents(sessions=1) == of_one


@pytest.mark.survives(
    "results",
    "Settings of training change while a checkpoint is left",
    "Training begins anew",
)
def test_other_settings_do_not_go_on_from_a_checkpoint(generator, data, folder, short):
    """A stopped run with another learning rate left its checkpoint."""
    out = folder / "other"
    work = checkpoints_of(out)

    class Stop(Exception):
        pass

    def stop(path, target):
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boldvision.decoders.stage.replace_folder", stop)
        with pytest.raises(Stop):
            train(generator, data, out, dropout=0.0, steps=4, learning_rate=0.5)
    assert list(work.glob("*/step-*.pt"))
    found = trained(generator, data, out, dropout=0.0, steps=4)
    assert record_of(out)["resumed_at"] == 0
    assert largest_difference(found, short) == 0


@pytest.mark.parametrize("subjects", [1, 2])
def test_two_processes_learn_what_one_does(generator, data, folder, subjects):
    """One subject: no parameter is left out; two: a process may hold windows of one of them."""
    one, two = folder / f"one_of_{subjects}", folder / f"two_of_{subjects}"
    settings = {"dropout": 0.0, "steps": 4}
    expected = trained(generator, data[:subjects], one, **settings)
    command = train_arguments(generator, data[:subjects], two, **settings)
    process = start(command, TWO_PROCESSES, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert b"deprecated" not in said
    assert record_of(two)["processes"] == 2
    assert largest_difference(parameters_of(two), expected) < 1e-5


def test_the_loop_learns_what_a_plain_one_does(generator, data, folder):
    """Batches in this thread, no launcher, no accelerate: the same bits."""
    found = trained(generator, data, folder / "loop", steps=4, device_batch_size=2)
    run = Run(**run_settings(steps=4, device_batch_size=2))
    windows = {
        s.name: load_windows(s.bold, s.trials, s.split, Window(**WINDOW), NSD_PREP, "train")
        for s in data
    }
    latents = {s.name: TargetFile(s.targets["vae"]) for s in data}
    frozen = load_generator(generator)
    torch.manual_seed(0)
    model = Dynadiff({name: w.n_voxels for name, w in windows.items()}, 3, frozen, run).train()
    objective = DiffusionObjective(windows, latents, frozen, run.training, 0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    for step in range(4):
        optimizer.param_groups[0]["lr"] = learning_rate(step, 1e-2, 3, 4)
        torch.manual_seed(derive(0, "dropout", step, 0))
        for rows in (slice(0, 2), slice(2, 4)):
            (objective.loss(model, objective.batch(step, rows)) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert largest_difference(found, model.trained()) == 0


def test_what_makes_it_faster_changes_the_losses_by_rounding_alone(generator, data, folder):
    plain, fast = folder / "plain", folder / "fast"
    settings = {"steps": 6, "log_every": 1, "dropout": 0.0}
    train(generator, data, plain, **settings)
    train(generator, data, fast, precision="bf16", activation_checkpointing=True, **settings)
    losses = [[line["loss"] for line in record_of(out)["losses"]] for out in (plain, fast)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
    others = losses[0][1:] + losses[0][:1]
    assert losses[1] != pytest.approx(others, rel=5e-3), "the tolerance would accept anything"


@pytest.mark.survives(
    "jobs",
    "The launcher of a training on several GPUs is killed",
    "Its processes end: their GPUs are free",
)
def test_processes_end_with_a_killed_launcher(generator, data, folder):
    out, workers = folder / "orphans", []
    process = start(
        train_arguments(generator, data, out, steps=100_000),
        TWO_PROCESSES,
        stderr=subprocess.DEVNULL,
    )

    def begun():
        if list(checkpoints_of(out).glob("*/step-*.pt")):
            workers.extend(psutil.Process(process.pid).children())
        return workers

    kill_when(begun, process)
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=10)
    for worker in alive:
        worker.kill()
    assert not alive


@pytest.mark.survives(
    "jobs",
    "One of the processes of a training on several GPUs gets SIGTERM",
    "All of them end at the same step, and the checkpoint is of that step",
)
def test_processes_stop_together(generator, data, folder):
    out = folder / "stopped_together"
    process = start(
        train_arguments(generator, data, out, steps=100_000),
        TWO_PROCESSES,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (before := list(checkpoints_of(out).glob("*/step-*.pt"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    workers[1].terminate()
    assert process.wait(timeout=60) != 0
    states = sorted(checkpoints_of(out).glob("*/step-*.pt"))
    step = int(states[-1].name.split(".")[0].removeprefix("step-"))
    assert step % AGREE_EVERY == 0
    assert states[-1].name > before[-1].name


@pytest.mark.parametrize("device_batch_size", [1, 2])
def test_accumulated_gradients_are_those_of_the_batch(
    generator, data, folder, short, device_batch_size
):
    out = folder / f"accumulated{device_batch_size}"
    settings = {"dropout": 0.0, "steps": 4, "device_batch_size": device_batch_size}
    found = trained(generator, data, out, **settings)
    assert largest_difference(found, short) < 1e-5
    again = trained(
        generator, data, folder / f"one_step{device_batch_size}", **settings | {"steps": 3}
    )
    assert largest_difference(again, short) > 1e-4, "the tolerance would accept anything"


def test_only_what_is_trained_is_saved_and_all_of_it_moves(generator, data, folder, short):
    before = trained(generator, data, folder / "one", dropout=0.0, steps=1)
    assert not any("vae" in name or "base_layer" in name for name in short)
    moved = [name for name in short if not torch.equal(before[name], short[name])]
    assert set(moved) == set(short)


def test_gradients_are_clipped(generator, data, folder, monkeypatch):
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters, limit, **options):
        parameters = list(parameters)
        clip(parameters, limit, **options)
        norms.append(clip(parameters, 1e9).item())

    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", spy)
    train(generator, data, folder / "clipped", steps=2, device_batch_size=2, gradient_clip=1e-3)
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)  # once a step, not once a piece


def test_losses_are_means_over_the_steps_between_lines(generator, data, folder, monkeypatch):
    seen = []

    def objective(self, model, batch):
        loss = original(self, model, batch)
        seen.append(loss.item())
        return loss

    original = DiffusionObjective.loss
    monkeypatch.setattr(DiffusionObjective, "loss", objective)
    train(generator, data, folder / "log", steps=6, log_every=3, device_batch_size=2)
    losses = record_of(folder / "log")["losses"]
    assert [line["step"] for line in losses] == [3, 6]
    assert [line["loss"] for line in losses] == pytest.approx(
        [np.mean(seen[:6]), np.mean(seen[6:])]
    )


def test_the_record_says_what_was_trained(folder, short):
    record = record_of(folder / "short")
    assert record["voxels"] == {"subj01": 5, "subj02": 4}
    assert record["trials"] == {"subj01": 18, "subj02": 6}
    assert record["steps"] == 4
    assert record["generator"] == "random"
    unet = sum(value.numel() for name, value in short.items() if name.startswith("unet."))
    brain = sum(value.numel() for name, value in short.items() if name.startswith("brain_module."))
    counted = record["parameters"]
    assert (counted["unet_trained"], counted["brain_module"]) == (unet, brain)
    assert record["sessions"] == {"subj01": 1, "subj02": 1}


def test_sigterm_is_handled_only_while_training(short):
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda places: places["subj01"].pop("bold"), "--data: expected .*found KeyError 'bold'"),
        (lambda places: places["subj01"]["targets"].clear(), "subj01: expected the target vae"),
    ],
    ids=["bold", "target"],
)
def test_a_decoder_says_which_data_it_lacks(generator, data, folder, capsys, change, message):
    command = train_arguments(generator, data, folder / "lacking")
    place = command.index("--data") + 1
    places = json.loads(command[place])
    change(places)
    command[place] = json.dumps(places)
    assert cli.main(command) == 1
    assert re.search(message, capsys.readouterr().err)


def test_deepspeed_is_told_the_batch_the_clipping_and_the_precision():
    file = REPOSITORY / "config" / "deepspeed_zero2.json"
    settings = Training(
        **training_settings(
            batch_size=320,
            device_batch_size=20,
            gradient_clip=0.5,
            precision="bf16",
            deepspeed=str(file),
        )
    )
    found = deepspeed_config(settings, processes=8)
    assert found["train_micro_batch_size_per_gpu"] * found["gradient_accumulation_steps"] * 8 == 320
    assert found["train_batch_size"] == 320
    assert found["train_micro_batch_size_per_gpu"] == 20
    assert found["gradient_clipping"] == 0.5
    assert found["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
    assert not found["bf16"]["enabled"]
    assert found["zero_optimization"] == json.loads(file.read_text())["zero_optimization"]
    without = deepspeed_config(settings.model_copy(update={"gradient_clip": None}), processes=8)
    assert without["gradient_clipping"] == 0
