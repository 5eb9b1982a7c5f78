"""Which of several pictures of a window is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor


def nearest(
    candidates: Iterable[Tensor], wanted: Tensor, tokens: Callable[[Tensor], Tensor]
) -> Tensor:
    """Of each window's candidates the one whose tokens are nearest to those wanted.

    Parameters
    ----------
    candidates : iterable of Tensor, [B, 3, px, px]
        One for each window at a time; of equally near ones, the first is kept.
    wanted : Tensor, [B, tokens, width]
        What the contrastive head made of the windows.
    tokens : callable
        CLIP's tokens [B, tokens, width] of pictures.

    Returns
    -------
    Tensor, [B, 3, px, px]
    """
    kept, highest = None, None
    for pictures in candidates:
        cosine = F.cosine_similarity(wanted.flatten(1), tokens(pictures).flatten(1))
        if kept is None or highest is None:
            kept, highest = pictures, cosine
            continue
        nearer = cosine > highest
        kept = pictures.where(nearer[:, None, None, None], kept)
        highest = cosine.where(nearer, highest)
    assert kept is not None, "no candidates"
    return kept
