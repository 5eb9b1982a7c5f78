"""Where to compute, and how what is frozen is held there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

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
    in which autocast computes them. On a card, convolutions go over channels last.

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
    if any(parameter.is_cuda for parameter in network.parameters()):
        network.to(memory_format=torch.channels_last)


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
