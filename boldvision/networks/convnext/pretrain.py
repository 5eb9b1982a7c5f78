"""Train the tiny ConvNeXt: its tokens say what is where in scenes that no miniature shows.

VICRegL learns without labels, from many photographs. So few small scenes teach more if they are
asked for: the category of the object, from all tokens, and the picture at each token's place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boldvision import plugins
from boldvision.datasets.miniature.scenes import CATEGORIES, SCENE_SEED, draw_scene, render
from boldvision.device import best_device
from boldvision.networks.convnext.network import WEIGHTS, ConvNext
from boldvision.networks.convnext.settings import Network
from boldvision.networks.pretraining import descend, save_half

DETAIL = 4
"""Pixels of a side of what each token is asked for."""


class Questions(nn.Module):
    """Linear readings of the directions of tokens; they do not ship."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.category = nn.Linear(tokens * width, len(CATEGORIES))
        self.place = nn.Linear(width, 3 * DETAIL**2)

    def loss(self, tokens: Tensor, pictures: Tensor, categories: Tensor) -> Tensor:
        """Cross-entropy of the category, and squared error of the picture at each place."""
        directions = F.normalize(tokens, dim=-1) * tokens.shape[-1] ** 0.5
        said = F.cross_entropy(self.category(directions.flatten(1)), categories)
        return (
            said + 10 * (self.place(directions) - places(pictures, tokens.shape[1])).square().mean()
        )


def places(pictures: Tensor, tokens: int) -> Tensor:
    """What is at each token's place: [N, tokens, 3 * DETAIL**2], of pictures [N, 3, px, px]."""
    cells = round(tokens**0.5)
    small = F.adaptive_avg_pool2d(pictures, cells * DETAIL)
    return F.unfold(small, DETAIL, stride=DETAIL).transpose(1, 2)


def drawn(count: int, px: int) -> tuple[Tensor, Tensor]:
    """Pictures uint8 [count, 3, px, px] and categories int64 [count] of scenes to learn from."""
    all_scenes = [draw_scene(SCENE_SEED, number) for number in range(1, count + 1)]
    pictures = torch.from_numpy(np.stack([render(scene, px) for scene in all_scenes]))
    return pictures.permute(0, 3, 1, 2), torch.tensor([scene.category for scene in all_scenes])


def pretrain(
    out: Path, scenes: int = 10_000, steps: int = 2_500, batch_size: int = 128, seed: int = 0
) -> None:
    """Write the weights of the tiny ConvNeXt to folder `out`.

    Raises
    ------
    UserError
        The optimization diverged; nothing was written.
    """
    torch.manual_seed(seed)
    device = best_device()
    named = plugins.named("networks", {}, simulated=True).settings["convnext"]
    settings = Network.model_validate(named)
    network = ConvNext(settings).to(device)
    questions = Questions(settings.side**2, settings.width).to(device)
    pictures, categories = (values.to(device) for values in drawn(scenes, settings.image_px))
    parameters = [*network.parameters(), *questions.parameters()]
    for _ in descend(parameters, steps, peak=2e-3, weight_decay=0.01):
        some = torch.randint(len(pictures), (batch_size,), device=device)
        shown = pictures[some].float() / 255
        questions.loss(network.tokens(shown), shown, categories[some]).backward()
    save_half(network.state_dict(), out / WEIGHTS)
