"""CLIP, whose tokens of pictures and texts are what decoders predict.

Its folder holds ``model.safetensors`` with the parameters of both transformers by their published
names, ``config.json`` with the sizes of ``vision`` and ``text``, and ``tokenizer.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from boldvision.files import reading
from boldvision.networks.clip.settings import Network

WEIGHTS, SIZES, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
"""Files of its folder."""
START, END = "<|startoftext|>", "<|endoftext|>"

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that CLIP was trained on, in [0, 1], by channel."""

REMEDY = "fetch or train the network again, or correct `networks.….folder`"


class Clip(nn.Module):
    """Two transformers that end in one space.

    Parameters
    ----------
    sizes : dict
        Keys `vision` and `text`: arguments of transformers' ``CLIPVisionConfig`` and
        ``CLIPTextConfig``.
    tokenizer : Tokenizer
        Puts `START` and `END` around a text. It is changed: made to fill a text up with `END` to
        the length that the network reads, or to cut it there.

    Attributes
    ----------
    image_px : int
    """

    def __init__(self, sizes: Mapping[str, Mapping[str, Any]], tokenizer: Tokenizer):
        from transformers import (
            CLIPTextConfig,
            CLIPTextModelWithProjection,
            CLIPVisionConfig,
            CLIPVisionModelWithProjection,
        )

        super().__init__()
        start, end = map(tokenizer.token_to_id, (START, END))
        marks = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes["vision"]))
        self.text = CLIPTextModelWithProjection(CLIPTextConfig(**sizes["text"], **marks))
        self.image_px: int = self.vision.config.image_size
        length = self.text.config.max_position_embeddings
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length, pad_id=end, pad_token=END)
        self.tokenizer = tokenizer

    def shape(self) -> dict[str, int]:
        """Numbers of tokens and their width, by their names in the settings."""
        vision, text = self.vision.config, self.text.config
        return {
            "image_tokens": (vision.image_size // vision.patch_size) ** 2 + 1,
            "text_tokens": text.max_position_embeddings,
            "width": vision.projection_dim,
        }

    def pixels(self, pictures: Tensor, antialias: bool = True) -> Tensor:
        """Resize the smaller side by a bicubic filter, crop the centre, and normalise.

        Parameters
        ----------
        pictures : Tensor of float, [N, 3, H, W]
            In [0, 1]: once divided by 255, never twice.
        antialias : bool
            Whether the filter widens where pictures shrink, as PIL's does; for tensors,
            torchvision's does so by default since 0.17.

        Returns
        -------
        Tensor, [N, 3, image_px, image_px]
            From black, -1.79, to white, 2.15 (the extremes of the channels).
        """
        px, (height, width) = self.image_px, pictures.shape[-2:]
        if (height, width) != (px, px):
            scale = px / min(height, width)
            size = [max(px, int(side * scale)) for side in (height, width)]
            resized = interpolate(pictures, size, mode="bicubic", antialias=antialias)
            top, left = (round((side - px) / 2) for side in size)
            pictures = resized[..., top : top + px, left : left + px]
        mean, std = (pictures.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        return (pictures - mean) / std

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """Tokens [N, tokens, width] of the class and of each patch, in rows, of :meth:`pixels`.

        All pass the last norm and the projection, which CLIP itself applies to the first alone,
        and are divided by the norm of the first.
        """
        hidden = self.vision.vision_model(pixel_values=pixels).last_hidden_state
        normed = self.vision.vision_model.post_layernorm(hidden)
        tokens = self.vision.visual_projection(normed)
        return tokens / tokens[:, :1].norm(dim=-1, keepdim=True)

    def token_ids(self, texts: Sequence[str]) -> Tensor:
        """Numbers of words, int64 [N, length]: `START`, the text, and `END` up to the length."""
        return torch.tensor([text.ids for text in self.tokenizer.encode_batch(list(texts))])

    def text_tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokens [N, length, width] of texts, divided by the norm of the text's first `END`.

        No mask hides what is behind it.
        """
        tokens, pooled = self._text(self.token_ids(texts))
        return tokens / pooled.norm(dim=-1)[:, None, None]

    def pooled(self, ids: Tensor) -> Tensor:
        """The token [N, width] at the first `END` of :meth:`token_ids`, of length 1.

        CLIP compares it with the first token of a picture.
        """
        pooled = self._text(ids)[1]
        return pooled / pooled.norm(dim=-1, keepdim=True)

    def _text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Projected tokens, and of each text the one at the first `END`."""
        ids = ids.to(self.text.text_projection.weight.device)
        tokens = self.text.text_projection(self.text.text_model(input_ids=ids).last_hidden_state)
        end = (ids == self.text.config.eos_token_id).int().argmax(dim=1)
        return tokens, tokens[torch.arange(len(ids), device=ids.device), end]

    def published(self) -> dict[str, Tensor]:
        """Parameters by their published names, which differ between the two transformers."""
        return {**self.vision.state_dict(), **self.text.state_dict()}

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Take over parameters by their published names.

        Raises
        ------
        RuntimeError
            One is missing, superfluous, or of another shape.
        """
        own = set(self.text.state_dict())
        self.text.load_state_dict({n: value for n, value in state.items() if n in own})
        self.vision.load_state_dict({n: value for n, value in state.items() if n not in own})


def load(settings: Network) -> Clip:
    """Read the network from ``settings.folder``, frozen, in float32.

    Raises
    ------
    UserError
        A file is missing, or is not what it should be.
    """
    folder = Path(settings.folder)
    with reading(folder / TOKENIZER, f"a tokenizer with {START} and {END}", REMEDY):
        tokenizer = Tokenizer.from_str((folder / TOKENIZER).read_text())
        if None in map(tokenizer.token_to_id, (START, END)):
            raise ValueError("one without")
    with reading(folder / SIZES, "the sizes of `vision` and `text`", REMEDY):
        clip = Clip(json.loads((folder / SIZES).read_text()), tokenizer)
        if (found := clip.shape()) != (stated := settings.model_dump(include=set(found))):
            raise ValueError(f"{found}, where the configuration says {stated}")
    with reading(folder / WEIGHTS, f"parameters of the sizes in {SIZES}", REMEDY):
        clip.load_published(load_file(folder / WEIGHTS))
    return clip.float().eval().requires_grad_(False)
