"""Where to compute, and how what is frozen is held there."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from boldvision.errors import UserError

if TYPE_CHECKING:
    import torch

HALF = {"fp16": "float16", "bf16": "bfloat16"}
"""Types of mixed precision, as torch names them."""


def best_device() -> str:
    """``cuda`` if a card is visible, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def hold_frozen(network: torch.nn.Module, precision: str) -> None:
    """Hold the frozen weights of linear layers and convolutions as autocast would cast them.

    Autocast casts weights that are not trained anew in every forward pass. Norms stay in float32,
    in which autocast computes them.

    Parameters
    ----------
    network : Module
        Changed in place.
    precision : str
        ``no`` (nothing is changed), ``fp16`` or ``bf16``.
    """
    import torch

    if precision not in HALF:
        return
    dtype = getattr(torch, HALF[precision])
    for module in network.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)


def fuse(network: torch.nn.Module) -> None:
    """Compile a network in place, at its first call: the same function, but for rounding.

    Raises
    ------
    UserError
        There is no C compiler, which torch would miss after minutes.
    """
    known = [name for name in (os.environ.get("CC"), "gcc", "clang") if name]
    if not any(map(shutil.which, known)):
        raise UserError(
            "`training.compile`: expected a C compiler, found none (gcc, clang, or what the "
            "variable CC names); load one, or set `compile: false`: a third slower"
        )
    network.compile()


def autocast(device: torch.device | str, precision: str) -> AbstractContextManager[None]:
    """PyTorch's autocast on `device`; nothing if `precision` is ``no``."""
    import torch

    if precision not in HALF:
        return nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, HALF[precision]))


def fast_attention(device: torch.device | str, precision: str) -> AbstractContextManager[None]:
    """Within it, attention in half precision on a card never writes out its whole matrix.

    Where no such kernel can be used, torch raises an error, since the slow one would need several
    times the memory: 4096 x 4096 numbers per head at 512 pixels.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if torch.device(device).type != "cuda" or precision not in HALF:
        return nullcontext()
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    return sdpa_kernel([*kernels, SDPBackend.EFFICIENT_ATTENTION])
