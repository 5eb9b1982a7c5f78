"""Batches that a thread makes ahead of the device, and the ways to compute with them faster."""

import threading
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
import torch
from decoder_data import run_settings, write_generator
from torch import nn

from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.settings import Run, Training
from boldvision.decoders.dynadiff.train import make_fast
from boldvision.device import fast_attention, hold_frozen
from boldvision.errors import UserError
from boldvision.generators.base import load_generator
from boldvision.training.feed import AHEAD, feed
from boldvision.training.loop import make_accelerator

CPU = torch.device("cpu")
PIECES = [(step, slice(row, row + 2)) for step in range(5) for row in (0, 2)]


class Numbered:
    """Batches that hold their step and first row; notes who makes them."""

    def __init__(self, fails_at=None):
        self.made, self.threads, self.fails_at = [], set(), fails_at

    def batch(self, step, rows):
        if step == self.fails_at:
            raise UserError("session01.npy: damaged")
        self.made.append((step, rows))
        self.threads.add(threading.current_thread())
        return {"piece": [torch.tensor([step, rows.start])]}


def test_batches_come_in_order_from_one_other_thread():
    objective = Numbered()
    with closing(feed(objective, PIECES, CPU)) as batches:
        found = [batch["piece"][0].tolist() for batch in batches]
    assert found == [[step, rows.start] for step, rows in PIECES]
    assert objective.made == PIECES
    assert len(objective.threads) == 1
    assert threading.current_thread() not in objective.threads


def test_batches_are_made_while_one_is_computed_with():
    objective = Numbered()
    with closing(feed(objective, PIECES, CPU)) as batches:
        next(batches)
        deadline = time.monotonic() + 10
        while len(objective.made) < 1 + AHEAD and time.monotonic() < deadline:
            time.sleep(0.001)
        assert objective.made == PIECES[: 1 + AHEAD]  # and no more


def test_a_feed_that_is_closed_ends_its_thread():
    objective = Numbered()
    with closing(feed(objective, PIECES, CPU)) as batches:
        next(batches)
    (thread,) = objective.threads
    assert not thread.is_alive()
    assert len(objective.made) < len(PIECES)


@pytest.mark.survives(
    "files",
    "A batch that is read ahead is damaged",
    "The training ends with the reader's message when it comes to that batch",
)
def test_what_the_thread_raises_is_raised_in_its_turn():
    batches = feed(Numbered(fails_at=1), PIECES, CPU)
    assert [next(batches)["piece"][0].tolist() for _ in range(2)] == [[0, 0], [0, 2]]
    with pytest.raises(UserError, match="session01"):
        next(batches)


class Moved(torch.Tensor):
    """A tensor that notes what is done with it on the way to a card, and in which thread."""

    def pin_memory(self):
        self.log.append(("pinned", threading.current_thread()))
        return self

    def to(self, device, non_blocking):
        self.log.append((f"copied to {device}", non_blocking))
        return self

    def record_stream(self, stream):
        self.log.append(("kept for", stream))


def test_a_batch_is_copied_to_the_card_of_its_process(monkeypatch):
    """New threads are on the first card, whose memory they would take."""
    log, third = [], torch.device("cuda:3")
    ours = SimpleNamespace(wait_event=lambda event: log.append(("waited for", event)))
    own = SimpleNamespace(device=third, record_event=lambda: "arrival")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: own)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ours)
    monkeypatch.setattr(
        torch.cuda, "set_stream", lambda s: log.append((s, threading.current_thread()))
    )
    batch = torch.zeros(2).as_subclass(Moved)
    batch.log = log
    objective = SimpleNamespace(batch=lambda step, rows: {"piece": [batch]})
    with closing(feed(objective, PIECES[:1], third)) as batches:
        assert next(batches)["piece"][0] is batch
    thread = log[0][1]
    assert thread is not threading.current_thread()
    assert log == [
        (own, thread),
        ("pinned", thread),
        ("copied to cuda:3", True),
        ("waited for", "arrival"),
        ("kept for", ours),
    ]


@pytest.fixture
def model(tmp_path):
    generator = load_generator(write_generator(tmp_path / "generator"))
    torch.manual_seed(0)
    model = Dynadiff({"subj01": 5}, 3, generator, Run(**run_settings()))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model.train()


def gradients(model, precision="no"):
    """Gradients of the trained parameters at random inputs, and the prediction."""
    torch.manual_seed(1)
    bold, noisy = torch.randn(3, 3, 5), torch.randn(3, 4, 2, 2)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        predicted = model(
            [("subj01", bold)], noisy, torch.tensor([1, 200, 900]), torch.zeros(3, dtype=torch.bool)
        )
    predicted.float().square().mean().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return predicted.detach(), found


def test_activation_checkpointing_changes_no_gradient(model):
    predicted, plain = gradients(model)
    calls = []
    model.unet.mid_block.resnets[1].register_forward_pre_hook(lambda *_: calls.append(1))
    model.unet.enable_gradient_checkpointing()
    again, checkpointed = gradients(model)
    assert len(calls) == 2  # forward, and once more for the gradient
    assert torch.equal(again, predicted)
    assert checkpointed.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(checkpointed[name], value, rtol=1e-5, atol=1e-7)


def test_frozen_weights_are_held_as_autocast_casts_them(model):
    _, plain = gradients(model, "bf16")
    before = {name: value.dtype for name, value in model.trained().items()}
    hold_frozen(model.unet, "bf16")
    assert {name: value.dtype for name, value in model.trained().items()} == before
    frozen = [p for p in model.unet.parameters() if not p.requires_grad and p.ndim > 1]
    assert frozen
    assert {p.dtype for p in frozen} == {torch.bfloat16}
    _, held = gradients(model, "bf16")
    assert held.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(held[name], value, rtol=0.05, atol=0.05 * value.abs().max())


def test_full_precision_holds_nothing_otherwise(model):
    hold_frozen(model.unet, "no")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_card_never_takes_the_attention_that_writes_its_matrix():
    """What torch would be allowed to take, which needs no card to be asked."""
    assert torch.backends.cuda.math_sdp_enabled()
    with fast_attention("cuda", "bf16"):
        assert torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.cuda.math_sdp_enabled()
    with fast_attention("cuda", "no"):  # float32 has no other
        assert torch.backends.cuda.math_sdp_enabled()
    assert torch.backends.cuda.math_sdp_enabled()


@pytest.mark.parametrize(("subjects", "unused"), [(1, False), (2, True)])
def test_only_joint_models_look_for_parameters_that_a_step_leaves_out(
    no_gpu, monkeypatch, subjects, unused
):
    told = {}
    monkeypatch.setattr("boldvision.training.loop.Accelerator", lambda **options: told | options)
    settings = Training(learning_rate=1e-3, batch_size=4, device_batch_size=4)
    options = make_accelerator(settings, some_unused=subjects > 1)
    (together,) = options["kwargs_handlers"]
    assert together.find_unused_parameters == unused
    assert together.gradient_as_bucket_view


def test_full_precision_is_full_and_half_is_helped_by_tensorfloat(no_gpu, monkeypatch):
    asked = []
    monkeypatch.setattr("boldvision.training.loop.Accelerator", lambda **options: options)
    monkeypatch.setattr("torch.set_float32_matmul_precision", asked.append)
    for precision in ("no", "bf16"):
        make_accelerator(Training(learning_rate=1e-3, precision=precision))
    assert asked == ["high"]


def test_the_settings_of_speed_reach_the_unet(model, monkeypatch):
    done = []
    monkeypatch.setattr(type(model.unet), "compile", lambda self: done.append("compile"))
    monkeypatch.setattr("shutil.which", lambda name: name if name == "clang" else None)
    make_fast(model, Training(learning_rate=1e-3))
    assert not done
    assert not model.unet.is_gradient_checkpointing
    make_fast(model, Training(learning_rate=1e-3, compile=True, activation_checkpointing=True))
    assert done == ["compile"]
    assert model.unet.is_gradient_checkpointing


@pytest.mark.survives(
    "places",
    "A training is to be compiled on a machine without a C compiler",
    "It stops before its first step; the error says what is missing and how to do without",
)
def test_no_compiler(model, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"expected a C compiler.*`compile: false`"):
        make_fast(model, Training(learning_rate=1e-3, compile=True))
    make_fast(model, Training(learning_rate=1e-3))


def test_a_processor_takes_the_attention_that_it_has():
    query = torch.randn(1, 1, 4, 8)
    with fast_attention("cpu", "bf16"):
        assert nn.functional.scaled_dot_product_attention(query, query, query).shape == query.shape
