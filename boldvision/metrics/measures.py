"""The ten metrics: what each reads, how it compares, which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from boldvision.config import Network
from boldvision.metrics.identification import correlation_distance
from boldvision.metrics.pixels import pixcorr, ssim
from boldvision.metrics.protocols import Protocol
from boldvision.metrics.segmentation import mean_iou

Kind = Literal["two_way", "ssim", "pixcorr", "correlation_distance", "iou", "distance"]


@dataclass(frozen=True)
class Measure:
    """A metric.

    Attributes
    ----------
    role : str
        Which network of the configuration it uses; ``pixels`` is none.
    layer : str
        What that network returns.
    kind : str
        How a reconstruction is compared with a stimulus, or (``two_way``) with all of them.
    better : {"higher", "lower"}
    network : str or None
        The network of the paper; None where it is not offered, so that no result is the paper's.
    """

    role: str
    layer: str
    kind: Kind
    better: Literal["higher", "lower"]
    network: str | None

    def is_genuine(self, network: Network | None) -> bool:
        """Whether that is the paper's network with its real weights."""
        if network is None:
            return self.role == "pixels"
        return network.name == self.network and network.weights.startswith("pretrained")


MEASURES: dict[str, Measure] = {
    "ssim": Measure("pixels", "pixels", "ssim", "higher", None),
    "pixcorr": Measure("pixels", "pixels", "pixcorr", "higher", None),
    "alexnet_2": Measure("alexnet", "2", "two_way", "higher", "alexnet"),
    "alexnet_5": Measure("alexnet", "5", "two_way", "higher", "alexnet"),
    "clip": Measure("clip", "features", "two_way", "higher", "clip_vit_l14"),
    "inception": Measure("inception", "features", "two_way", "higher", "inception_v3"),
    "efficientnet": Measure(
        "efficientnet", "features", "correlation_distance", "lower", "efficientnet_b1"
    ),
    "swav": Measure("swav", "features", "correlation_distance", "lower", "swav"),
    "miou": Measure("segmentation", "classes", "iou", "higher", None),
    "dreamsim": Measure("dreamsim", "perceptual", "distance", "lower", "dreamsim"),
}
"""mIoU in the paper uses an unmaintained network (ViT-Adapter, BEiTv2-L, COCO-Stuff): every network
offered here is a proxy."""

UNDEFINED = {"pixcorr": 0.0, "correlation_distance": 1.0}
"""A constant image or feature vector has no correlation: it is scored as uncorrelated."""


def compare(
    measure: Measure, stimuli: np.ndarray, reconstructions: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """Compare pairs.

    Parameters
    ----------
    measure : Measure
        Of any kind but ``two_way``.
    stimuli, reconstructions : array [n, ...]
        What the network (or the resize) returned.
    protocol : Protocol

    Returns
    -------
    array [n], float64
        NaN where a correlation is undefined.
    """
    if measure.kind == "ssim":
        return ssim(stimuli=stimuli, reconstructions=reconstructions, variant=protocol.ssim)
    if measure.kind == "pixcorr":
        return pixcorr(stimuli=stimuli, reconstructions=reconstructions)
    if measure.kind == "iou":
        return mean_iou(stimuli=stimuli, reconstructions=reconstructions)
    if measure.kind == "distance":
        return np.square(stimuli - reconstructions).sum(axis=1, dtype=np.float64)
    return correlation_distance(stimuli=stimuli, predictions=reconstructions)


@dataclass(frozen=True)
class Scored:
    """One metric in one test window.

    Attributes
    ----------
    values : array [n], float64
        One per reconstruction, as a fraction.
    chance : float
        Expected of a reconstruction that is unrelated to its stimulus: 0.5 for two-way
        identification, else the mean over pairs of a reconstruction and another image's stimulus
        (all pairs for correlations, one for each reconstruction for the rest).
    interval : (float, float)
        95 % interval of the mean, over images.
    undefined : int
        Values that were undefined (constant image) and count as uncorrelated.
    tied : int
        Comparisons of two-way identification that were ties and count as lost.
    """

    values: np.ndarray
    chance: float
    interval: tuple[float, float]
    undefined: int
    tied: int = 0
