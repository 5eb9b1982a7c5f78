"""Ridge regression in its dual form: one eigendecomposition for all targets and all penalties.

Of n samples with features X [n, D], centred, ``X X' = V diag(l) V'``. A sample x is predicted as
the mean target plus ``x X' V diag(1 / (l + alpha)) V' Y``. The weights, [D, targets], are never
made: from 94,344 features to 197,376 targets they would be 75 GB. Samples of one image share a row
of Y; ``V'`` is summed over them once (`Spectrum.per_image`), and meets a row for each image.

All of it is in float64: the largest eigenvalue may be thousands of times the penalty, and a kernel
in float32 would lose as many digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from boldvision.files import atomic, reading

ROWS = 2048
"""Samples read together: 1.5 GB of 94,344 features."""

HELD = 2**27
"""Numbers in float64 of what is made of some images or targets at a time: 1 GB."""

Read = Callable[[slice], torch.Tensor]
"""From a slice of the samples to their centred features, float64 [rows, D]."""


def gram(read: Read, n: int, folder: Path, rows: int = ROWS) -> torch.Tensor:
    """Products of all pairs of `n` samples, float64 [n, n], on the CPU.

    A block of samples is multiplied with all before it, and kept in `folder`: a job that was killed
    goes on after the last.
    """
    products = torch.empty(n, n, dtype=torch.float64)
    for block in slices(n, rows):
        file = folder / f"gram-{block.start:06d}.npy"
        made = kept(file, partial(_with_earlier, read, block, rows))
        products[block, : block.stop] = made
        products[: block.start, block] = made[:, : block.start].T
    return products


def _with_earlier(read: Read, block: slice, rows: int) -> torch.Tensor:
    own = read(block)
    earlier = (own @ read(other).T for other in slices(block.start, rows))
    return torch.cat([*earlier, own @ own.T], dim=1)


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues [n] and eigenvectors [n, n], in columns, of the products of all samples.

    Attributes
    ----------
    values, vectors : Tensor of float64
    member : Tensor of int64, [n]
        Which image each sample is of, 0-based.
    """

    values: torch.Tensor
    vectors: torch.Tensor
    member: torch.Tensor

    @property
    def counts(self) -> torch.Tensor:
        """Samples of each image, float64 [images]."""
        return torch.bincount(self.member).double()

    def per_image(self) -> torch.Tensor:
        """Eigenvectors summed over the samples of each image, [images, n].

        One repetition after the other, so that a card does not choose the order of the sums.
        """
        (order, starts), counts = self._order(), self.counts
        sums = self.vectors.new_zeros(len(counts), len(self.values))
        for repetition in range(int(counts.max())):
            seen = torch.nonzero(counts > repetition)[:, 0]
            sums[seen] += self.vectors[order[starts[seen] + repetition]]
        return sums

    def shares(self, products: torch.Tensor, per_image: torch.Tensor, alpha: float) -> torch.Tensor:
        """What each image's target has in predictions, beside the mean target, [N, images].

        Parameters
        ----------
        products : Tensor of float64, [N, n]
            Of centred features of other samples with those of the samples.
        per_image : Tensor
            Of `per_image`.
        alpha : float
            The penalty, as scikit-learn's: of squared weights, beside the sum of squared errors.
        """
        return products @ self.vectors / (self.values + alpha) @ per_image.T

    def left_out(self, per_image: torch.Tensor, alpha: float) -> torch.Tensor:
        """The same in predictions of the samples, each without its own image, [n, images].

        Were the samples I of an image left out, and features and targets centred anew, their errors
        would be ``(1 - H_II)^-1`` times those of the whole fit, ``(1 - H) Y`` (the block form of
        leave-one-out; Hastie, Tibshirani & Friedman 2009, eq. 7.64). Here ``1 - H`` is ``alpha V
        diag(1 / (l + alpha)) V' - 1/n``.
        """
        n, counts = len(self.values), self.counts
        weighted = self.vectors * (alpha / (self.values + alpha))
        errors = weighted @ per_image.T - counts / n
        predictions = torch.zeros_like(errors)
        predictions[torch.arange(n), self.member] = 1.0
        for samples in self._by_repetitions():
            own = weighted[samples] @ self.vectors[samples].mT - 1 / n
            predictions[samples] -= torch.linalg.solve(own, errors[samples])
        return predictions

    def _by_repetitions(self) -> Iterator[torch.Tensor]:
        """Samples [images, repetitions] of images that have equally many, some at a time."""
        (order, starts), counts = self._order(), self.counts.long()
        for repetitions in counts.unique().tolist():
            first = starts[counts == repetitions]
            samples = order[first[:, None] + torch.arange(repetitions, device=first.device)]
            yield from samples.split(max(1, HELD // (repetitions * len(self.values))))

    def _order(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples [n] by their image, and where each image's begin, [images]."""
        counts = self.counts.long()
        return torch.argsort(self.member, stable=True), counts.cumsum(0) - counts


def spectrum(products: torch.Tensor, member: torch.Tensor, folder: Path, device: str) -> Spectrum:
    """Eigendecomposition of the products [n, n] of samples, kept in `folder`, on `device`."""

    def decomposed() -> torch.Tensor:
        values, vectors = torch.linalg.eigh(products.to(device))
        return torch.cat([values[None].clamp(min=0), vectors])  # of centred features, one is 0

    made = kept(folder / "spectrum.npy", decomposed).to(device)
    return Spectrum(made[0], made[1:], member.to(device))


def kept(file: Path, make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """What `make` makes, on the CPU, from `file` if it is there, which is written otherwise."""
    if not file.exists():
        with atomic(file) as part:
            np.save(part, make().cpu().numpy())
    with reading(file, "numbers that a killed job finished", "remove it and run again"):
        return torch.from_numpy(np.load(file))


def cross(features: torch.Tensor, read: Read, n: int, rows: int = ROWS) -> torch.Tensor:
    """Products of other samples' centred features [N, D] with those of `n` samples, [N, n]."""
    return torch.cat([features @ read(block).T for block in slices(n, rows)], dim=1)


def slices(n: int, rows: int) -> list[slice]:
    """`n` rows, in their order, some at a time."""
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
