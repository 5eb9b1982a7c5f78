"""What a training of Dynadiff holds on a card."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from boldvision.costs import Sizes
from boldvision.decoders.dynadiff.cost import unet_of
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.settings import Run
from boldvision.device import hold_frozen
from boldvision.held import Held, Saved, as_on_a_card, held_by


def held(run: Run, sizes: Sizes) -> Held:
    """Of brain module and U-Net, which are on the card; a batch is of the largest subject."""
    return held_by(lambda batch: _saved(run, sizes, batch))


def _saved(run: Run, sizes: Sizes, batch: int) -> Saved:
    generator = sizes.generators[run.generator]
    with torch.device("meta"):
        frozen: Any = SimpleNamespace(settings=generator, unet=unet_of(generator, "none", None))
        model = Dynadiff(sizes.voxels, sizes.n_tr, frozen, run).train()
    hold_frozen(model.unet, run.training.precision)
    with as_on_a_card(model, run.training.precision):
        saved = Saved(model)
        model.unet.enable_gradient_checkpointing(saved.checkpointed)
        side, (subject, n) = generator.image_px // 8, max(sizes.voxels.items(), key=lambda s: s[1])
        groups = [(subject, torch.empty(batch, sizes.n_tr, n))]
        noisy, dropped = torch.empty(batch, 4, side, side), torch.zeros(batch, dtype=torch.bool)
        time = torch.zeros(batch, dtype=torch.int64)
        saved.count(lambda: model(groups, noisy, time, dropped))
        return saved
