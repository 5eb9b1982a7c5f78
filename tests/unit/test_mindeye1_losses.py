"""MindEye1's contrastive losses and their schedule."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from boldvision.decoders.mindeye1.losses import (
    Schedule,
    bimixco,
    draw_mixing,
    mixed_labels,
    softclip,
)
from boldvision.decoders.mindeye1.settings import Contrast

PUBLISHED = Schedule(66_240, 240, Contrast())


@pytest.fixture
def sides():
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 20, generator=random)


def test_unmixed_windows_are_to_be_like_their_images_alone(sides):
    """BiMixCo is symmetric InfoNCE then."""
    labels = mixed_labels(torch.ones(6), torch.arange(6).roll(1), "published")
    compared, target = (F.normalize(side, dim=-1) for side in sides)
    logits = compared @ target.T / 0.006
    own = torch.arange(6)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert bimixco(*sides, labels, torch.tensor(0.006)).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("unmoved", ["published", "whole"])
def test_labels_of_a_mixed_window_are_its_shares(unmoved):
    share, partner = torch.tensor([0.7, 1.0, 0.2]), torch.tensor([1, 2, 0])
    found = mixed_labels(share, partner, unmoved)
    assert found.tolist() == [
        pytest.approx(row) for row in [[0.7, 0.3, 0], [0, 1, 0], [0.8, 0, 0.2]]
    ]


def test_a_window_that_is_its_own_partner_loses_its_share_as_published():
    share, partner = torch.tensor([0.7, 1.0, 0.2]), torch.tensor([0, 1, 2])
    published = mixed_labels(share, partner, "published")
    assert torch.diag(published).tolist() == pytest.approx([0.3, 0, 0.8])
    assert mixed_labels(share, partner, "whole").tolist() == torch.eye(3).tolist()


def test_bimixco_weighs_log_probabilities_both_ways(sides):
    labels = mixed_labels(torch.full((6,), 0.7), torch.arange(6).roll(1), "whole")
    compared, target = (F.normalize(side, dim=-1) for side in sides)
    logits = compared @ target.T / 0.1
    expected = 0.0
    for i in range(6):
        for j in range(6):
            forth = logits[i].log_softmax(0)[j] + logits[:, j].log_softmax(0)[i]
            expected -= labels[i, j] * forth / 12
    assert bimixco(*sides, labels, torch.tensor(0.1)).item() == pytest.approx(expected.item())


def test_softclip_is_least_where_windows_are_like_images(sides):
    target = F.normalize(sides[1], dim=-1)
    likely = (target @ target.T / 0.05).softmax(-1)
    entropy = -(likely * likely.log()).sum(-1).mean()
    temperature = torch.tensor(0.05)
    assert softclip(sides[1], sides[1], temperature).item() == pytest.approx(entropy.item())
    compared = sides[1].clone().requires_grad_()
    softclip(compared, sides[1], temperature).backward()
    assert compared.grad.abs().max() < 1e-5
    assert softclip(sides[0], sides[1], temperature) > 2 * entropy


def test_softclip_takes_the_same_labels_both_ways(sides):
    compared, target = (F.normalize(side, dim=-1) for side in sides)
    labels, logits = (target @ target.T).softmax(-1), compared @ target.T
    expected = -(labels * (logits.log_softmax(-1) + logits.T.log_softmax(-1))).sum(-1).mean() / 2
    assert softclip(*sides, torch.tensor(1.0)).item() == pytest.approx(expected.item())


def test_epochs_0_to_78_mix_and_the_rest_do_not():
    assert PUBLISHED.mixed_epochs == 79
    assert Schedule(5, 5, Contrast()).mixed_epochs == 1  # of 1.65
    assert PUBLISHED.epoch(79 * 276 - 1) == 78
    assert PUBLISHED.mixes(79 * 276 - 1)
    assert not PUBLISHED.mixes(79 * 276)
    assert PUBLISHED.epoch(66_239) == 239


def test_the_temperature_rises_along_half_a_cosine():
    found = [PUBLISHED.temperature(epoch * 276) for epoch in range(240)]
    assert set(found[:79]) == {0.006}
    assert found[79] == pytest.approx(0.004)
    assert found[239] == pytest.approx(0.0075)
    assert found[79 + 40] == pytest.approx(0.0075 - 0.0035 / 2 * (1 + math.cos(math.pi / 4)))
    assert np.all(np.diff(found[79:]) > 0)


def test_epochs_are_parts_of_any_number_of_steps():
    short = Schedule(600, 240, Contrast())
    assert [short.epoch(step) for step in (0, 2, 3, 599)] == [0, 0, 1, 239]
    assert Schedule(4, 1, Contrast(mixed_epochs=0)).temperature(3) == 0.004


def test_mixing_is_drawn_from_seed_step_and_row():
    partner, share = draw_mixing(0, 5, 64, Contrast())
    assert sorted(partner.tolist()) == list(range(64))
    again = draw_mixing(0, 5, 64, Contrast())
    assert np.array_equal(partner, again[0])
    assert np.array_equal(share, again[1])
    assert not np.array_equal(partner, draw_mixing(0, 6, 64, Contrast())[0])
    assert not np.array_equal(partner, draw_mixing(1, 5, 64, Contrast())[0])
    assert np.array_equal(share[:8], draw_mixing(0, 5, 8, Contrast())[1])


def test_half_of_the_windows_are_mixed_with_shares_of_a_beta_distribution():
    shares = np.concatenate([draw_mixing(0, step, 64, Contrast())[1] for step in range(100)])
    mixed = shares[shares < 1]
    assert len(mixed) / len(shares) == pytest.approx(0.5, abs=0.03)
    assert mixed.mean() == pytest.approx(0.5, abs=0.03)
    assert mixed.var() == pytest.approx(0.25 / (2 * 0.15 + 1), abs=0.01)
