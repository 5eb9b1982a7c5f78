"""What a training holds on a card, counted without one: shapes are computed, and no numbers.

Weights, gradients, AdamW's moments, and the tensors that autograd saves for the backward pass; what
CUDA and NCCL take, and what is lost to gaps, is left room for. A decoder that trains by gradient
says how to count in its module ``memory``, by ``held(run, sizes)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from boldvision.device import HALF

GIB = 2**30
SHARE, CONTEXT = 0.9, 1.5 * GIB
"""What may be filled of a card, and what CUDA and NCCL take, bytes; the rest is left for gaps."""


@dataclass(frozen=True)
class Held:
    """Bytes that a training holds on a card.

    Attributes
    ----------
    weights
        Parameters, as they are held.
    state
        Gradients and AdamW's two moments of those that are trained.
    saved, per_sample
        Saved by autograd: whatever the batch, and for each sample of it.
    recomputed, recomputed_per_sample
        The same with activation checkpointing: what goes into each part, and all of the largest.
    """

    weights: float
    state: float
    saved: float
    per_sample: float
    recomputed: float
    recomputed_per_sample: float

    def bytes(self, batch: int, checkpointing: bool) -> float:
        """Bytes with a batch of so many samples."""
        saved = (self.saved, self.per_sample)
        if checkpointing:
            saved = (self.recomputed, self.recomputed_per_sample)
        return self.weights + self.state + saved[0] + batch * saved[1]

    def largest_batch(self, card: float, checkpointing: bool) -> int:
        """Samples that fit a card of so many bytes; 0: not even one does."""
        left = SHARE * card - CONTEXT - self.bytes(0, checkpointing)
        one = self.bytes(1, checkpointing) - self.bytes(0, checkpointing)
        return max(0, int(left // one))


def held_by(saved: Callable[[int], Saved]) -> Held:
    """Count a training from what it saves of batches of one and of two samples.

    Parameters
    ----------
    saved : callable
        From the samples of a batch to what was counted of a forward pass.
    """
    one, two = saved(1), saved(2)
    more, recomputed_more = two.bytes - one.bytes, two.recomputed - one.recomputed
    return Held(
        weights=one.weights,
        state=one.state,
        saved=one.bytes - more,
        per_sample=more,
        recomputed=one.recomputed - recomputed_more,
        recomputed_per_sample=recomputed_more,
    )


class Saved:
    """Counts what autograd saves within it, each piece of memory once, without parameters.

    Parameters
    ----------
    module : Module
        Its parameters count as weights and, where they are trained, as gradients and two moments.
    """

    def __init__(self, module: nn.Module):
        parameters = list(module.parameters())
        self.weights = sum(p.numel() * p.element_size() for p in parameters)
        self.state = 3 * sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
        self._known = {p.untyped_storage()._cdata for p in module.parameters()}
        self._outer: dict[int, torch.UntypedStorage] = {}
        self._inner: dict[int, torch.UntypedStorage] = {}
        self._inputs: dict[int, torch.UntypedStorage] = {}
        self._largest = 0

    @property
    def bytes(self) -> int:
        """All that is saved."""
        return _bytes(self._outer | self._inner)

    @property
    def recomputed(self) -> int:
        """With activation checkpointing."""
        return _bytes(self._outer | self._inputs) + self._largest

    def count(self, forward: Callable[[], object]) -> None:
        """Count what a call saves."""
        with torch.autograd.graph.saved_tensors_hooks(self._keep_in(self._outer), _same):
            forward()

    def checkpointed(self, part: nn.Module, *inputs: Any) -> Any:
        """In place of `torch.utils.checkpoint.checkpoint`, which would save the inputs alone."""
        own: dict[int, torch.UntypedStorage] = {}
        for tensor in inputs:
            if isinstance(tensor, torch.Tensor):
                self._keep_in(self._inputs)(tensor)
        with torch.autograd.graph.saved_tensors_hooks(self._keep_in(own), _same):
            output = part(*inputs)
        self._inner |= own
        self._largest = max(self._largest, _bytes(own))
        return output

    def _keep_in(self, kept: dict[int, torch.UntypedStorage]) -> Callable[[Any], Any]:
        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                kept[storage._cdata] = storage
            return tensor

        return keep


@contextmanager
def as_on_a_card(module: nn.Module, precision: str) -> Iterator[None]:
    """Shapes and types as on a card: `module`, from the device ``meta``, is there in the block.

    Tensors that are made in it are there too, and computed with under autocast of `precision`.
    """
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode())
        stack.enter_context(torch.device("cuda"))
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    there = torch.empty(value.shape, dtype=value.dtype)
                    part._parameters[name] = nn.Parameter(there, value.requires_grad)
        stack.callback(torch.set_autocast_enabled, "cuda", before[0])
        stack.callback(torch.set_autocast_dtype, "cuda", before[1])
        if precision in HALF:
            torch.set_autocast_enabled("cuda", True)
            torch.set_autocast_dtype("cuda", getattr(torch, HALF[precision]))
        stack.enter_context(_FlashAttention())
        yield


class _FlashAttention(TorchFunctionMode):
    """Attention as a card computes it; without one, torch would choose what keeps the matrix."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = (*args, *(kwargs or {}).values())[:3]
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _bytes(storages: dict[int, torch.UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in storages.values())
