"""What ``training.json`` says of the machine."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

PACKAGES = ("torch", "diffusers", "peft", "accelerate", "numpy")


def versions(device: torch.device) -> dict[str, Any]:
    """Versions of the packages that matter, the device and its peak memory."""
    cuda = device.type == "cuda"
    return {
        "versions": {package: version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if cuda else None,
    }
