"""From a network named in the configuration to a function of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from boldvision.config import Network
from boldvision.device import best_device
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.metrics import dreamsim, weights
from boldvision.metrics.architectures import NETWORKS, Architecture
from boldvision.metrics.pins import parse
from boldvision.metrics.pixels import unit_range
from boldvision.metrics.sources import REMEDY
from boldvision.seeds import derive


class FeatureNetwork:
    """A network of the metrics, ready to turn images into features.

    Attributes
    ----------
    layers : tuple of str
        What it can return.
    identity : str
        See `boldvision.metrics.weights.identity`.
    """

    def __init__(
        self, network: Network, *, protocol: str, folder: str | Path, batch_size: int = 32
    ) -> None:
        self._architecture = _architecture(network.name)
        self._batch_size = batch_size
        self._device = best_device()
        model = _model(network, self._architecture, protocol, Path(folder), self._device)
        self._model = model.eval().requires_grad_(False).to(self._device)
        self._pretrained = parse(network.weights).pretrained
        self.layers = self._architecture.layers
        self.identity = weights.identity(network, protocol=protocol, folder=folder)

    def __call__(self, images: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Features of images, computed only up to the deepest of the layers.

        Parameters
        ----------
        images : array [n, px, px, 3]
            uint8, or float32 in 0..1, at the size the network is to see.
        layers : sequence of str

        Returns
        -------
        dict of array [n, features]
            One array per layer, float32; layer ``classes`` is the class of every pixel
            (or patch), uint8.
        """
        batches = [
            self._batch(images[first : first + self._batch_size], layers)
            for first in range(0, len(images), self._batch_size)
        ]
        return {layer: np.concatenate([batch[layer] for batch in batches]) for layer in layers}

    @torch.inference_mode()
    def _batch(self, images: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
        x = torch.from_numpy(unit_range(images)).to(self._device).permute(0, 3, 1, 2)
        mean, std = (
            torch.tensor(values, device=self._device).view(3, 1, 1)
            for values in self._architecture.normalization
        )
        found = self._architecture.read(self._model, (x - mean) / std, layers)
        if not all(torch.isfinite(values).all() for values in found.values()):
            raise UserError(
                f"metrics.networks: {self.identity}: expected finite features, found NaN or "
                f"infinity: its weights are damaged. Find their file and {REMEDY}."
            )
        if "classes" in found:
            found["classes"] = self._labels(found["classes"])
        return {layer: found[layer].cpu().numpy() for layer in layers}

    def _labels(self, scores: torch.Tensor) -> torch.Tensor:
        """Best class of every pixel, [n, pixels].

        Untrained scores differ far more between classes than between pixels, and one class would
        win everywhere: then each class is compared with its mean over the image.
        """
        if not self._pretrained:
            scores = scores - scores.mean(dim=(2, 3), keepdim=True)
        return scores.argmax(dim=1).flatten(1).to(torch.uint8)


DREAMSIM = Architecture(
    torch.nn.Identity, dreamsim.read, ("perceptual",), ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
)


def _architecture(name: str) -> Architecture:
    known = {**NETWORKS, dreamsim.NAME: DREAMSIM}
    if name not in known:
        raise UserError(f"metrics.networks: {name!r}: expected one of {', '.join(sorted(known))}")
    return known[name]


def _model(
    network: Network, architecture: Architecture, protocol: str, folder: Path, device: str
) -> torch.nn.Module:
    of_dreamsim = network.name == dreamsim.NAME
    if not parse(network.weights).pretrained:
        if of_dreamsim:
            raise UserError(
                "metrics.networks: dreamsim: expected `weights: pretrained`, found random; name "
                "another network for the role, such as lpips_alex"
            )
        return _random(network.name, architecture)
    path = weights.locate(network, protocol=protocol, folder=folder)
    if of_dreamsim:
        return dreamsim.load(path, device)
    model = architecture.build()
    with reading(path, f"the weights of {network.name}", REMEDY):
        architecture.load(model, path)
    return model


def _random(name: str, architecture: Architecture) -> torch.nn.Module:
    """Fresh weights of a seed that depends on the name alone, so that all results share them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "network", name))
        return architecture.build()
