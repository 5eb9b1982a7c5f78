"""A dual generator of random weights, as small as it can be, laid out as the published one."""

from pathlib import Path

import torch
from decoder_data import PX, TOKENS, WIDTH, write_generator

from boldvision import config
from boldvision.generators.base import load_generator
from boldvision.generators.dual import DualUNet, new_text_transformers
from boldvision.generators.pretrain_dual import save

TEXT_TOKENS, TEXT_WIDTH = 3, 12


def write_dual_generator(folder: Path) -> config.Generator:
    """That of `write_generator` with a text U-Net beside the image U-Net."""
    plain = write_generator(folder)
    unet = load_generator(plain).unet
    torch.manual_seed(1)
    text = new_text_transformers(unet, TEXT_WIDTH)
    save(DualUNet(unet, text), TEXT_WIDTH, folder)
    return config.Generator(
        **plain.model_dump()
        | {"kind": "tiny_dual", "text_tokens": TEXT_TOKENS, "text_width": TEXT_WIDTH}
    )


def tokens_of_both(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens of `n` images and texts."""
    torch.manual_seed(seed)
    return torch.randn(n, TOKENS, WIDTH), torch.randn(n, TEXT_TOKENS, TEXT_WIDTH)


def noisy_latents(n: int) -> torch.Tensor:
    """Random latents of `n` pictures."""
    torch.manual_seed(2)
    return torch.randn(n, 4, PX // 8, PX // 8)
