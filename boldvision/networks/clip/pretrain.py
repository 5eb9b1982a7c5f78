"""Train the tiny CLIP: pictures of scenes and what is said about them, each other's answer.

CLIP compares one token of a picture with one of a text. What the other tokens of a large CLIP
carry of their places, a tiny one learns by a second task, which is ours: a linear map of each
patch's token has to give the patch's colours.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, unfold

from boldvision.datasets.miniature.scenes import (
    SCENE_SEED,
    caption,
    draw_scene,
    render,
    vocabulary,
)
from boldvision.device import best_device
from boldvision.networks.clip.network import END, SIZES, START, TOKENIZER, WEIGHTS, Clip
from boldvision.networks.pretraining import descend, save_half
from boldvision.seeds import numpy_generator

UNKNOWN = "<|unknown|>"
IMAGE_PX, PATCH_PX, LENGTH, WIDTH = 32, 8, 16, 64
"""A picture is 17 tokens and a text 16, of 64 numbers each."""
COLOUR_PX = 2
"""Side of the areas whose mean colours a patch's token has to tell."""


def sizes(words: int) -> dict[str, dict]:
    """The tiny network's, for a vocabulary of so many words."""
    shared = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": WIDTH}
    vision = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4}
    text = {"hidden_size": 96, "intermediate_size": 288, "num_hidden_layers": 3}
    return {
        "vision": shared
        | vision
        | {"num_attention_heads": 4, "image_size": IMAGE_PX, "patch_size": PATCH_PX},
        "text": shared
        | text
        | {"num_attention_heads": 4, "vocab_size": words, "max_position_embeddings": LENGTH},
    }


def new_tokenizer() -> Tokenizer:
    """A tokenizer of the words of the scenes' captions, laid out as CLIP's."""
    marks = [UNKNOWN, START, END]
    words = {word: number for number, word in enumerate([*vocabulary(), *marks])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(mark, words[mark]) for mark in (START, END)]
    )
    tokenizer.add_special_tokens(marks)
    return tokenizer


def pretrain(
    out: Path, seed: int = 0, scenes: int = 8_000, steps: int = 500, batch_size: int = 128
) -> None:
    """Train on captioned scenes and write the network to folder `out` in float16, as it ships.

    Raises
    ------
    UserError
        The optimization diverged.
    """
    torch.manual_seed(seed)
    tokenizer = new_tokenizer()
    tokenizer.save(str(out / TOKENIZER))
    network_sizes = sizes(tokenizer.get_vocab_size())
    (out / SIZES).write_text(json.dumps(network_sizes, indent=1))
    clip = Clip(network_sizes, tokenizer)
    train(clip.to(best_device()), seed, scenes, steps, batch_size)
    save_half(clip.published(), out / WEIGHTS)


def train(clip: Clip, seed: int, scenes: int, steps: int, batch_size: int) -> None:
    """Match pictures with captions, and make patches tell their colours."""
    shown = [draw_scene(SCENE_SEED, number) for number in range(1, scenes + 1)]
    device = clip.vision.visual_projection.weight.device
    pictures = torch.from_numpy(np.stack([render(scene, IMAGE_PX) for scene in shown])).to(device)
    said = [clip.token_ids(caption(scene)) for scene in shown]
    scale = nn.Parameter(torch.tensor(2.7, device=device))
    colours = nn.Linear(WIDTH, 3 * (PATCH_PX // COLOUR_PX) ** 2, device=device)
    random = numpy_generator(seed, "batches")
    answers = torch.arange(batch_size, device=device)
    parameters = [*clip.parameters(), *colours.parameters(), scale]
    for _ in descend(parameters, steps, peak=1e-3, weight_decay=0.01):
        chosen = random.integers(scenes, size=batch_size)
        texts = torch.stack([said[i][random.integers(len(said[i]))] for i in chosen])
        batch = pictures[torch.from_numpy(chosen).to(device)].permute(0, 3, 1, 2) / 255
        tokens = clip.image_tokens(clip.pixels(batch))
        alike = scale.exp().clamp(max=100) * tokens[:, 0] @ clip.pooled(texts).T
        matched = cross_entropy(alike, answers) + cross_entropy(alike.T, answers)
        error = colours(tokens[:, 1:]) - patch_colours(batch)
        (matched / 2 + 3 * error.abs().mean()).backward()


def patch_colours(pictures: Tensor) -> Tensor:
    """Mean colours of small areas of each patch, [N, patches, numbers], of [N, 3, px, px]."""
    side = PATCH_PX // COLOUR_PX
    return unfold(avg_pool2d(pictures, COLOUR_PX), side, stride=side).transpose(1, 2)
