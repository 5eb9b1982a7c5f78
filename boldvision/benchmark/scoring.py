"""How fast pictures are scored."""

from __future__ import annotations

from typing import Any

import numpy as np

from boldvision.benchmark.timing import calls_per_s
from boldvision.config import Config, Metrics, Network
from boldvision.errors import UserError
from boldvision.metrics.measures import MEASURES, compare
from boldvision.metrics.networks import FeatureNetwork
from boldvision.metrics.protocols import PROTOCOLS, resize
from boldvision.seeds import numpy_generator
from boldvision.speeds import metrics_told

PX = 512


def measure_scores(config: Config, count: int, seconds: float) -> dict[str, Any]:
    """Values per second, of `count` pictures and all metrics.

    A picture is resized, passes through a network, and is compared where that takes time. Networks
    whose weights are not there get random ones; those that cannot be made are named, not counted.
    """
    metrics = config.metrics
    names = dict.fromkeys(name for chosen in metrics.sets.values() for name in chosen)
    roles = list(dict.fromkeys(MEASURES[name].role for name in names))
    noise = numpy_generator(0, "benchmark", "pictures")
    pictures = noise.integers(0, 256, (count, PX, PX, 3), np.uint8)
    found = {role: _role(role, metrics, pictures, seconds / len(roles)) for role in roles}
    known = {role: part["pictures_per_s"] for role, part in found.items() if "failed" not in part}
    values = sum(MEASURES[name].role in known for name in names)
    return {
        "settings": metrics_told(config),
        "values_per_s": values / sum(1 / rate for rate in known.values()),
        "roles": found,
    }


def _role(role: str, metrics: Metrics, pictures: np.ndarray, seconds: float) -> dict[str, Any]:
    protocol = PROTOCOLS[metrics.protocol]
    steps = protocol.steps("reconstruction", role)
    if role == "pixels":
        measured = [measure for measure in MEASURES.values() if measure.role == role]

        def score() -> None:
            seen = resize(pictures, steps)
            for measure in measured:
                compare(measure, seen[::-1], seen, protocol)

        return {"pictures_per_s": len(pictures) * calls_per_s(score, seconds)}
    try:
        network, weights = _network(metrics.networks[role], metrics)
    except (UserError, ImportError) as error:
        return {"failed": str(error).splitlines()[0]}
    layers = list(dict.fromkeys(m.layer for m in MEASURES.values() if m.role == role))
    rate = calls_per_s(lambda: network(resize(pictures, steps), layers), seconds)
    return {"pictures_per_s": len(pictures) * rate, "weights": weights}


def _network(settings: Network, metrics: Metrics) -> tuple[FeatureNetwork, str]:
    """The network, with random weights where it has no others here, and which these are."""
    options: dict[str, Any] = {
        "protocol": metrics.protocol,
        "folder": metrics.weights_folder,
        "batch_size": metrics.batch_size,
    }
    try:
        return FeatureNetwork(settings, **options), settings.weights
    except UserError:
        random = settings.model_copy(update={"weights": "random"})
        return FeatureNetwork(random, **options), "random"
