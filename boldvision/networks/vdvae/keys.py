"""From the published state to the files that this project reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from boldvision.errors import UserError
from boldvision.files import atomic, reading
from boldvision.networks.vdvae.network import CONFIG, WEIGHTS, Vdvae
from boldvision.networks.vdvae.sizes import FULL_SIZE, Sizes

EMA = "model-ema.th"
"""The one file that is read: the state whose weights were averaged over training."""
PREFIX = "module."
"""Of names in a state that was saved by a network of several processes."""


def converted(files: Mapping[str, Path], out: Path, sizes: Sizes = FULL_SIZE) -> None:
    """Write ``config.json`` and ``model.safetensors`` to folder `out`.

    Parameters
    ----------
    files : mapping of str to Path
        `model-ema.th`: a state by name, as torch saves it.
    out : Path
    sizes : Sizes

    Raises
    ------
    UserError
        The file is not such a state, or its parameters have other names or shapes.
    """
    from safetensors.torch import save_file

    file = files[EMA]
    remedy = "remove the file and fetch it again"
    with reading(file, "the published state of a VDVAE", remedy):
        state = torch.load(file, map_location="cpu", weights_only=True)
        state = {name.removeprefix(PREFIX): value.contiguous() for name, value in state.items()}
    with torch.device("meta"):
        expected = Vdvae(sizes).state_dict()
    found = {(name, value.shape) for name, value in state.items()}
    if other := found ^ {(name, value.shape) for name, value in expected.items()}:
        raise UserError(
            f"{file}: expected the {len(expected)} parameters of a VDVAE of {sizes.image_px} px, "
            f"found {len(found)}; names or shapes differ, as of {min(other)[0]}; {remedy}"
        )
    with atomic(out / CONFIG) as part:
        part.write_text(sizes.model_dump_json(indent=1) + "\n")
    with atomic(out / WEIGHTS) as part:
        save_file(state, part)
