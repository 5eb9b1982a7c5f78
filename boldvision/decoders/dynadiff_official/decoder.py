"""Make pictures with the official weights: as Dynadiff does."""

from __future__ import annotations

from boldvision.decoders.base import Trained
from boldvision.decoders.dynadiff.decoder import DynadiffDecoder, load_stage


def load(model: Trained) -> DynadiffDecoder:
    """Read what stage `convert` wrote.

    Raises
    ------
    UserError
        See :func:`boldvision.decoders.dynadiff.decoder.load_stage`.
    """
    decoder = load_stage(model, "convert")
    decoder.label = "; ".join(filter(None, (model.run.label, decoder.label)))
    return decoder
