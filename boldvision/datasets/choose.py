"""Which dataset a configuration is of."""

from __future__ import annotations

from boldvision.config import Config
from boldvision.datasets.base import Dataset
from boldvision.datasets.miniature.dataset import MINIATURE
from boldvision.datasets.nsd.dataset import NSD


def dataset_of(config: Config) -> Dataset:
    """The dataset of a configuration: simulated where it says how."""
    return NSD if config.miniature is None else MINIATURE
