"""MindEye1's contrastive losses, and when they are at work."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from boldvision.decoders.mindeye1.settings import Contrast
from boldvision.seeds import numpy_generator


def mixed_labels(share: torch.Tensor, partner: torch.Tensor, unmoved: str) -> torch.Tensor:
    """What a mixed window is to be like: labels [B, B] of images.

    Parameters
    ----------
    share : Tensor, [B]
        Of the window itself in what it is mixed to.
    partner : Tensor of int64, [B]
        The other one, a permutation.
    unmoved : {"published", "whole"}
        Of a window that is its own partner: one less its share, which the released code writes over
        the share; or one.
    """
    labels, rows = torch.diag(share), torch.arange(len(share), device=share.device)
    labels[rows, partner] = 1 - share
    if unmoved == "whole":
        labels[rows, rows] = torch.where(partner == rows, 1.0, share)
    return labels


def bimixco(
    compared: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, temperature: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of windows and images [B, D] with labels of mixed windows, both ways."""
    logits = F.normalize(compared, dim=-1) @ F.normalize(target, dim=-1).T / temperature
    return (_cross_entropy(logits, labels) + _cross_entropy(logits.T, labels.T)) / 2


def softclip(
    compared: torch.Tensor, target: torch.Tensor, temperature: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of windows and images [B, D], both ways, with what images are like."""
    target = F.normalize(target, dim=-1)
    logits = F.normalize(compared, dim=-1) @ target.T / temperature
    labels = (target @ target.T / temperature).softmax(-1)
    return (_cross_entropy(logits, labels) + _cross_entropy(logits.T, labels)) / 2


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return -(labels * logits.log_softmax(-1)).sum(-1).mean()


@dataclass(frozen=True)
class Schedule:
    """Which of the losses a step takes.

    Parameters
    ----------
    steps, epochs : int
        Epochs are equal parts of the steps.
    settings : Contrast
    """

    steps: int
    epochs: int
    settings: Contrast

    @property
    def mixed_epochs(self) -> int:
        """Epochs of BiMixCo, which come first: 79 of 240 as published."""
        return int(self.settings.mixed_epochs * self.epochs)

    def epoch(self, step: int) -> int:
        """Epoch of a step, 0-based."""
        return step * self.epochs // self.steps

    def mixes(self, step: int) -> bool:
        """Whether windows are mixed."""
        return self.epoch(step) < self.mixed_epochs

    def temperature(self, step: int) -> float:
        """Of the loss; SoftCLIP's follows half a cosine over its epochs."""
        if self.mixes(step):
            return self.settings.mixed_temperature
        first, last = self.settings.soft_temperatures
        along = (self.epoch(step) - self.mixed_epochs) / max(1, self.epochs - self.mixed_epochs - 1)
        return last + (first - last) / 2 * (1 + math.cos(math.pi * along))


def draw_mixing(
    seed: int, step: int, batch_size: int, settings: Contrast
) -> tuple[np.ndarray, np.ndarray]:
    """How the windows of a global batch are mixed.

    Returns
    -------
    partner : int64 [B]
        A permutation, drawn from seed and step.
    share : float32 [B]
        Of each window itself, drawn from seed, step and row; one where it is not mixed.
    """
    partner = numpy_generator(seed, "partner", step).permutation(batch_size)
    share = np.ones(batch_size, np.float32)
    for row in range(batch_size):
        random = numpy_generator(seed, "mixing", step, row)
        if random.random() <= settings.mixed_share:
            share[row] = random.beta(settings.mixing, settings.mixing)
    return partner, share
