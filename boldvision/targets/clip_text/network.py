"""CLIP's tokens of captions, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from boldvision.errors import UserError
from boldvision.networks.clip.network import load as load_clip
from boldvision.networks.clip.settings import clip_among
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.clip_text.settings import Target


def load(target: Target, frozen: Frozen) -> Callable[[Stimuli], dict[str, np.ndarray]]:
    """Function from captions to `tokens`, float16 [N, tokens, width]: 77 x 768 of ViT-L/14.

    The mean over the first captions of an image that are not empty, place by place.
    """
    clip = load_clip(clip_among(frozen.networks, target.network)).to(frozen.device)

    @torch.no_grad()
    def encode(stimuli: Stimuli) -> dict[str, np.ndarray]:
        each = zip(stimuli.image_id, stimuli.captions or [], strict=True)
        said = [_chosen(image_id, texts, target.at_most) for image_id, texts in each]
        tokens = clip.text_tokens([text for texts in said for text in texts])
        means = [some.mean(dim=0) for some in tokens.split([len(texts) for texts in said])]
        return {"tokens": torch.stack(means).cpu().numpy().astype(np.float16)}

    return encode


def _chosen(image_id: int, captions: Sequence[str], at_most: int) -> list[str]:
    texts = [text for text in captions if text.strip()][:at_most]
    if not texts:
        raise UserError(
            f"captions of image {image_id}: expected one that is not empty, found none; remove the "
            "file of captions and run again to make it anew"
        )
    return texts
