"""How fast a target's network is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from boldvision import plugins
from boldvision.benchmark.timing import wait
from boldvision.config import Generator
from boldvision.decoders.base import SubjectData
from boldvision.device import best_device
from boldvision.images import ImageStack
from boldvision.plan import Plan
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.stage import BATCH, write_target


def measure_target(
    plan: Plan, name: str, generators: Mapping[str, Generator], data: SubjectData
) -> dict[str, Any]:
    """Images per second, from disk to disk; the file stays for training."""
    target = plan.config.target(name)
    load = plugins.defined("targets", target.kind, "network", "load")
    network = load(target, Frozen(generators, {}, best_device()))
    images, first = ImageStack(data.images), ImageStack(data.images).image_id[:BATCH]
    network(Stimuli(first, images.read(first)))
    wait()
    start = time.perf_counter()
    write_target(network, data.images, data.targets[name], BATCH)
    return {"images_per_s": len(images) / (time.perf_counter() - start)}
