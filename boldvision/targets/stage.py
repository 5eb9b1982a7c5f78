"""Stage `target`: what a frozen network makes of the images of one subject, each once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from boldvision import config, plugins
from boldvision.cli import settings_from
from boldvision.device import best_device
from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.hdf5 import write_text
from boldvision.images import ImageStack
from boldvision.targets.base import DIGEST, digest, mapped_values

BATCH = 8
"""Pictures together: a VAE takes half a gigabyte for each of 512 px, and is no faster with more."""


class Settings(config.Section):
    """What `--settings` of the stage says."""

    target: dict[str, Any]
    generators: dict[str, config.Generator]


def write_target(
    network: Callable[[np.ndarray], dict[str, np.ndarray]], images: Path, out: Path, batch_size: int
) -> None:
    """Pass every picture of `images` through `network` and write the file `out`.

    Raises
    ------
    UserError
        A value is not finite in the type on disk.
    """
    pictures = ImageStack(images)
    with atomic(out) as part, h5py.File(part, "w") as file:
        file["image_id"] = pictures.image_id
        for start in range(0, len(pictures), batch_size):
            ids = pictures.image_id[start : start + batch_size]
            for name, values in network(pictures.read(ids)).items():
                _require_finite(name, values, ids, images)
                if name not in file:
                    file.create_dataset(name, (len(pictures), *values.shape[1:]), values.dtype)
                file[name][start : start + len(ids)] = values
        file.flush()
        stored = mapped_values(file, len(pictures))
        write_text(file, DIGEST, digest(pictures.image_id, stored))


def _require_finite(name: str, values: np.ndarray, ids: np.ndarray, images: Path) -> None:
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        raise UserError(
            f"{images}: expected finite values, found NaN or infinity in the {name} of image "
            f"{ids[bad.argmax()]}. The network is damaged, or of another kind: fetch it anew."
        )


def main(argv: list[str]) -> None:
    """Stage `target`."""
    parser = argparse.ArgumentParser(prog="boldvision target", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON: `target` and its `generators`")
    parser.add_argument("--images", type=Path, required=True, help="images of one subject, h5")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=BATCH)
    arguments = parser.parse_args(argv)
    settings = Settings.model_validate(settings_from(arguments.settings))
    target = plugins.target_settings(settings.target)
    load = plugins.defined("targets", target.kind, "network", "load")
    network = load(target, settings.generators, best_device())
    write_target(network, arguments.images, arguments.out, arguments.batch_size)
