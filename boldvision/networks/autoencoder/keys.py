"""From a published autoencoder of diffusers, of whichever age, to the file that is read here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from boldvision.files import atomic, reading
from boldvision.networks.autoencoder.network import WEIGHTS

ATTENTION = "mid_block.attentions.0."
OLD = {"query.": "to_q.", "key.": "to_k.", "value.": "to_v.", "proj_attn.": "to_out.0."}
"""Names within attention before diffusers 0.15, and since."""


def converted(files: Mapping[str, Path], out: Path) -> None:
    """Write the parameters in file ``weights`` to folder `out`, by today's names.

    Parameters
    ----------
    files : mapping of str to Path
        ``weights``: a pickled state.
    out : Path

    Raises
    ------
    UserError
        It is another file. A pickle of more than tensors is not loaded.
    """
    path = files["weights"]
    with reading(path, "the parameters of a KL-f8 autoencoder", "fetch it again"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not any(ATTENTION in name for name in state):
            raise ValueError(f"no parameters named {ATTENTION}…")
        parameters = {renamed(name): value.float().contiguous() for name, value in state.items()}
    with atomic(out / WEIGHTS) as part:
        save_file(parameters, part)


def renamed(name: str) -> str:
    """The name of today."""
    before, found, last = name.partition(ATTENTION)
    for old, new in OLD.items() if found else ():
        if last.startswith(old):
            last = new + last.removeprefix(old)
    return before + found + last
