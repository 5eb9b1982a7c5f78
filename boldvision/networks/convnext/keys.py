"""From VICRegL's checkpoint to the file that is read here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from boldvision.files import atomic, reading
from boldvision.networks.convnext.network import WEIGHTS

WRAPPER = "module."
"""Prefix of every name: the network was trained on several GPUs."""

KEPT = ("backbone.", "maps_projector.")
"""Prefixes of what makes tokens; ``projector.`` and ``classifier.`` serve training alone."""


def converted(files: Mapping[str, Path], out: Path) -> None:
    """Write the backbone and the projector of maps of file ``checkpoint`` to folder `out`.

    Parameters
    ----------
    files : mapping of str to Path
        ``checkpoint``: a pickled dict whose ``model`` is the state.
    out : Path

    Raises
    ------
    UserError
        It is another file. A pickle of more than tensors is not loaded.
    """
    path = files["checkpoint"]
    with reading(path, "a checkpoint of VICRegL's ConvNeXt", "fetch it again"):
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"]
        names = {name: name.removeprefix(WRAPPER) for name in state}
        kept = {own: state[name] for name, own in names.items() if own.startswith(KEPT)}
        if not all(any(name.startswith(prefix) for name in kept) for prefix in KEPT):
            raise ValueError(f"no parameters named {' or '.join(KEPT)}")
        parameters = {name: value.float().contiguous() for name, value in kept.items()}
    with atomic(out / WEIGHTS) as part:
        save_file(parameters, part)
