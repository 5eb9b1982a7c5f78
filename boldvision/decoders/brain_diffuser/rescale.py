"""Predictions brought to the mean and the deviation of training targets.

A regression predicts less than there is to predict: its values vary too little, and networks that
were trained on true ones make dull pictures of them.
"""

from __future__ import annotations

import torch

from boldvision.decoders.brain_diffuser.examples import Moments
from boldvision.errors import UserError


def of_test_set(predicted: torch.Tensor) -> Moments:
    """Moments of each dimension of predictions [N, dimensions], over the windows of a test set.

    Raises
    ------
    UserError
        There is one window alone.
    """
    if len(predicted) < 2:
        raise UserError(
            "reconstruction.rescale: test_set compares the windows of a test set with each other, "
            "expected two or more, found one; decode more together, or set it to train"
        )
    return Moments(predicted.mean(0), predicted.std(0, correction=0))


def rescaled(predicted: torch.Tensor, found: Moments, true: Moments) -> torch.Tensor:
    """Predictions with moments `found`, changed in place, as if with moments `true`.

    A dimension that is predicted alike everywhere becomes the true mean.
    """
    deviation = torch.where(found.std > 0, found.std, 1.0)
    return predicted.sub_(found.mean).div_(deviation).mul_(true.std).add_(true.mean)
