"""Learning rate and momentum in one cycle, parameters that are not decayed, whole batches."""

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from boldvision.config.runs import OneCycle, Training
from boldvision.errors import UserError
from boldvision.training.gather import require_whole_shares, rows_of_all
from boldvision.training.loop import _adamw
from boldvision.training.schedule import learning_rate, optimizer_settings

PUBLISHED = OneCycle(peak_at=2 / 240, start=25, end=1000, momentum=(0.95, 0.85))


def settings(steps, cycle=PUBLISHED, **changes):
    return Training(steps=steps, learning_rate=3e-4, one_cycle=cycle, **changes)


@pytest.mark.parametrize(
    ("steps", "peak_at"), [(2400, 2 / 240), (240, 2 / 240), (40, 0.3), (4, 2 / 240)]
)
def test_it_is_torch_s(steps, peak_at):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1.0)
    theirs = OneCycleLR(optimizer, 3e-4, steps, pct_start=peak_at, final_div_factor=1000)
    told = settings(steps, OneCycle(peak_at=peak_at, end=1000))
    expected, found = [], []
    for step in range(steps):
        (group,) = optimizer.param_groups
        expected.append((group["lr"], *group["betas"]))
        ours = optimizer_settings(step, told)
        found.append((ours["lr"], *ours["betas"]))
        if step + 1 < steps:
            optimizer.step()
            theirs.step()
    assert np.array(found) == pytest.approx(np.array(expected), rel=1e-9)


def test_the_published_peak_and_end():
    told = [optimizer_settings(step, settings(66_240)) for step in (0, 551, 66_239)]
    assert [each["lr"] for each in told] == pytest.approx([1.2e-5, 3e-4, 1.2e-8])
    assert [each["betas"] for each in told] == [
        pytest.approx(betas) for betas in [(0.95, 0.999), (0.85, 0.999), (0.95, 0.999)]
    ]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_have_a_cycle(steps):
    rates = [optimizer_settings(step, settings(steps, OneCycle(peak_at=0.5)))["lr"]
             for step in range(steps)]  # fmt: skip
    assert all(0 < rate <= 3e-4 for rate in rates)


def test_without_one_the_rate_alone_is_told():
    told = Training(learning_rate=2.0, warmup_steps=10, steps=110)
    assert optimizer_settings(35, told) == {"lr": learning_rate(35, 2.0, 10, 110)}


@pytest.fixture
def network():
    return torch.nn.ModuleDict(
        {"lin": torch.nn.Linear(3, 2), "relative_bias": torch.nn.Embedding(4, 2)}
    )


def test_parameters_are_not_decayed_if_a_part_of_their_name_says_so(network):
    decayed, others = _adamw(
        network, settings(10, undecayed=("bias",)), torch.device("cpu")
    ).param_groups
    assert [value.shape for value in decayed["params"]] == [(2, 3)]
    assert [value.shape for value in others["params"]] == [(2,), (4, 2)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)


def test_all_are_decayed_by_default_and_frozen_ones_left_out(network):
    network["lin"].bias.requires_grad_(False)
    (group,) = _adamw(network, settings(10), torch.device("cpu")).param_groups
    assert [value.shape for value in group["params"]] == [(2, 3), (4, 2)]


def test_one_process_has_all_rows():
    rows = torch.randn(3, 2, requires_grad=True)
    assert rows_of_all(rows) is rows


@pytest.mark.parametrize("processes", [1, 4])
def test_a_share_that_would_be_accumulated_is_refused(processes):
    fits = settings(10, batch_size=32, device_batch_size=32 // processes)
    require_whole_shares(fits, "high_level", processes)
    less = settings(10, batch_size=32, device_batch_size=32 // processes - 1)
    message = f"high_level.device_batch_size is .*; expected at least {32 // processes}, the rows"
    with pytest.raises(UserError, match=message):
        require_whole_shares(less, "high_level", processes)
