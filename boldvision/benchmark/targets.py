"""How fast a target's network is."""

from __future__ import annotations

import time
from typing import Any

from boldvision import plugins
from boldvision.benchmark.data import CAPTIONS, Parts, captions_of
from boldvision.benchmark.timing import wait
from boldvision.decoders.base import SubjectData
from boldvision.device import best_device
from boldvision.images import ImageStack
from boldvision.plan import Plan
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.stage import BATCH, write_target


def measure_target(plan: Plan, name: str, parts: Parts, data: SubjectData) -> dict[str, Any]:
    """Images per second, from disk to disk; the file stays for training."""
    target = plan.config.target(name)
    load = plugins.defined("targets", target.kind, "network", "load")
    network = load(target, Frozen(parts.generators, parts.networks, best_device()))
    images, first = ImageStack(data.images), ImageStack(data.images).image_id[:BATCH]
    network(Stimuli(first, images.read(first), [CAPTIONS] * len(first)))
    wait()
    start = time.perf_counter()
    captions = captions_of(data) if target.captions else None
    write_target(network, data.images, data.targets[name], BATCH, captions)
    return {"images_per_s": len(images) / (time.perf_counter() - start)}
