"""CLIP's tokens of images, computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from boldvision.generators.images import resized
from boldvision.networks.clip.network import load as load_clip
from boldvision.networks.clip.settings import clip_among
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.clip_image.settings import Target


def load(target: Target, frozen: Frozen) -> Callable[[Stimuli], dict[str, np.ndarray]]:
    """Function from pictures to `tokens`, float16 [N, tokens, width]: 257 x 768 of ViT-L/14."""
    clip = load_clip(clip_among(frozen.networks, target.network)).to(frozen.device)

    @torch.no_grad()
    def encode(stimuli: Stimuli) -> dict[str, np.ndarray]:
        pictures = stimuli.pictures
        if target.resize_via is not None:
            squares = resized(pictures, target.resize_via)  # which have no border to crop
            pictures = resized(squares, clip.image_px, Image.Resampling.BICUBIC)
        between_0_and_1 = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(frozen.device) / 255
        tokens = clip.image_tokens(clip.pixels(between_0_and_1)).cpu().numpy()
        return {"tokens": tokens.astype(np.float16)}

    return encode
