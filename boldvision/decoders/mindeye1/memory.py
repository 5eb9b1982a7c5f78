"""What a training of MindEye1 holds on a card."""

from __future__ import annotations

import torch

from boldvision.costs import Sizes
from boldvision.decoders.mindeye1.low_level_network import LowLevelNetwork
from boldvision.decoders.mindeye1.network import MindEye
from boldvision.decoders.mindeye1.settings import Run
from boldvision.held import Held, Saved, as_on_a_card, held_by


def held(run: Run, sizes: Sizes) -> Held:
    """Of the high level, which holds more: both networks; frozen CLIP, 1.2 GB, is not counted.

    A batch, or a process's share of it, must fit: gradients are not accumulated.
    """
    return held_by(lambda batch: _high_level(run, sizes, batch))


def held_by_low_level(run: Run, sizes: Sizes) -> Held:
    """Of the low level, without the frozen teacher, 1.6 GB."""
    return held_by(lambda batch: _low_level(run, sizes, batch))


def _high_level(run: Run, sizes: Sizes, batch: int) -> Saved:
    settings, generator = run.high_level, sizes.generators[run.generator]
    n, shape = max(sizes.voxels.values()), (generator.tokens, generator.width)
    with torch.device("meta"):
        model = MindEye(sizes.n_tr * n, *shape, settings).train()
    with as_on_a_card(model, settings.precision):
        saved = Saved(model)
        model.prior.through = saved.checkpointed
        bold, noisy = torch.empty(batch, sizes.n_tr, n), torch.empty(batch, *shape)
        time, dropped = torch.zeros(batch), torch.zeros(batch, 2, dtype=torch.bool)
        saved.count(lambda: model(bold, noisy, time, dropped))
        return saved


def _low_level(run: Run, sizes: Sizes, batch: int) -> Saved:
    settings, n = run.low_level, max(sizes.voxels.values())
    width = sizes.networks[run.teacher].width  # type: ignore[attr-defined]
    with torch.device("meta"):
        model = LowLevelNetwork(sizes.n_tr * n, width, settings).train()
    with as_on_a_card(model, settings.precision):
        saved = Saved(model)
        saved.count(lambda: model(torch.empty(batch, sizes.n_tr, n)))
        return saved
