"""Stage `target`: what a frozen network makes of one subject's images or captions, each once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import Field

from boldvision import config, plugins
from boldvision.captions import read_captions
from boldvision.cli import settings_from
from boldvision.device import best_device
from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.hdf5 import write_text
from boldvision.images import ImageStack
from boldvision.targets.base import DIGEST, Frozen, Stimuli, digest, mapped_values

BATCH = 8
"""Pictures together: a VAE takes half a gigabyte for each of 512 px, and is no faster with more.

To CLIP they are 2,056 tokens of 257 each, or 3,080 of five captions each.
"""


class Settings(config.Section):
    """What `--settings` of the stage says."""

    target: dict[str, Any]
    generators: dict[str, config.Generator]
    networks: dict[str, dict[str, Any]] = Field(default_factory=dict)


def write_target(
    network: Callable[[Stimuli], dict[str, np.ndarray]],
    images: Path,
    out: Path,
    batch_size: int,
    captions: Path | None = None,
) -> None:
    """Pass every picture of `images`, with its captions, through `network`; write the file `out`.

    Raises
    ------
    UserError
        A value is not finite in the type on disk.
    """
    pictures = ImageStack(images)
    said = read_captions(captions, pictures.image_id) if captions else None
    with atomic(out) as part, h5py.File(part, "w") as file:
        file["image_id"] = pictures.image_id
        for start in range(0, len(pictures), batch_size):
            ids = pictures.image_id[start : start + batch_size]
            here = said[start : start + batch_size] if said else None
            for name, values in network(Stimuli(ids, pictures.read(ids), here)).items():
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
    parser.add_argument(
        "--settings", required=True, help="JSON: `target`, its `generators` and `networks`"
    )
    parser.add_argument("--images", type=Path, required=True, help="images of one subject, h5")
    parser.add_argument("--captions", type=Path, help="captions of the same images, parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=BATCH)
    arguments = parser.parse_args(argv)
    settings = Settings.model_validate(settings_from(arguments.settings))
    target = plugins.target_settings(settings.target)
    load = plugins.defined("targets", target.kind, "network", "load")
    networks = {n: plugins.network_settings(values) for n, values in settings.networks.items()}
    network = load(target, Frozen(settings.generators, networks, best_device()))
    batch_size = arguments.batch_size
    write_target(network, arguments.images, arguments.out, batch_size, arguments.captions)
