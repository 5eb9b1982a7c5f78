"""OpenAI's ViT-L/14 with random weights, and the tokenizer of the small CLIP that ships."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from boldvision.networks.blank import random_state
from boldvision.networks.clip.network import SIZES, TOKENIZER, WEIGHTS, Clip
from boldvision.networks.clip.settings import Network
from boldvision.networks.pretraining import save_half

SHIPPED = Path(__file__).with_name("tiny") / TOKENIZER

SHARED = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": 768}
FULL_SIZE: dict[str, dict[str, Any]] = {
    "vision": {
        **SHARED,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    },
    "text": {
        **SHARED,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    },
}


def write(settings: Network, out: Path) -> None:
    """Write to folder `out` what `load` reads."""
    with torch.device("meta"):
        network = Clip(FULL_SIZE, Tokenizer.from_file(str(SHIPPED)))
    save_half(
        random_state(network.vision) | random_state(network.text),
        out / WEIGHTS,
    )
    (out / SIZES).write_text(json.dumps(FULL_SIZE))
    shutil.copyfile(SHIPPED, out / TOKENIZER)
