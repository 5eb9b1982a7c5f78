"""ConvNeXt (Liu et al. 2022) without layer scale, and a projector of its last map.

Names of modules are those of the published checkpoint of VICRegL (Bardes et al. 2022).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from boldvision.files import reading
from boldvision.networks.convnext.settings import Network
from boldvision.networks.convnext.stem import STEM_FACTOR

WEIGHTS = "model.safetensors"
MEAN, STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)
"""Of the pictures that the network sees; ImageNet's, but for 0.228, as MindEye1's code has it."""

EPS = 1e-6


class Channels(nn.LayerNorm):
    """Layer norm over the channels of maps [N, C, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise convolution, layer norm, and a perceptron of each place, beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, EPS)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, h, w] of the same shape."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class Backbone(nn.Module):
    """Stages of blocks, each at half the resolution of the one before."""

    def __init__(self, depths: tuple[int, ...], widths: tuple[int, ...]):
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, widths[0], STEM_FACTOR, STEM_FACTOR), Channels(widths[0], EPS)
        )
        halve = [
            nn.Sequential(Channels(narrow, EPS), nn.Conv2d(narrow, wide, 2, 2))
            for narrow, wide in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halve])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth)))
            for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [N, h * w, C] of normalised pictures [N, 3, H, W]: places in rows."""
        for halve, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(halve(x))
        return self.norm(x.flatten(2).transpose(1, 2))


class ConvNext(nn.Module):
    """Backbone and projector.

    Parameters
    ----------
    settings : Network
    """

    def __init__(self, settings: Network):
        super().__init__()
        self.settings = settings
        self.backbone = Backbone(settings.depths, settings.widths)
        width = settings.width
        self.maps_projector = nn.Sequential(
            nn.Linear(settings.widths[-1], width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
        )

    def tokens(self, images: Tensor) -> Tensor:
        """Projected tokens [N, side * side, width] of pictures in 0..1, float [N, 3, px, px]."""
        mean, std = (images.new_tensor(value).view(3, 1, 1) for value in (MEAN, STD))
        return self.maps_projector(self.backbone((images - mean) / std))


def load(settings: Network) -> ConvNext:
    """The network of ``settings.folder``, frozen, in float32.

    Raises
    ------
    UserError
        Its file is missing, damaged, or of a network of other sizes.
    """
    path = Path(settings.folder) / WEIGHTS
    with torch.device("meta"):
        network = ConvNext(settings)
    with reading(
        path,
        "the parameters of a ConvNeXt of these `depths` and `widths`",
        "remove the folder and run again to fetch it anew, or correct `networks` in the "
        "configuration",
    ):
        state = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()
