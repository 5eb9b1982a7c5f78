"""Pictures of a test set that keeps latents: decoded once, for as long as they are scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from boldvision import config
from boldvision.config import Section
from boldvision.device import best_device, hold_frozen
from boldvision.files import atomic, only_job
from boldvision.hdf5 import LATENTS, open_latents, plain_dataset, read_text, write_text
from boldvision.metrics.inputs import window_files

BATCH = 8
"""Latents that are decoded together, whatever made them: a VAE at 512 px fits any card with it."""


class Decoding(Section):
    """What `--decode` says: whose latents they are, and how the run makes pictures of them."""

    generator: config.Generator
    precision: str = "no"
    rounding: str = "nearest"
    blur_faces: bool = False


@contextmanager
def decoded(folder: Path, decoding: dict[str, Any], scratch: Path) -> Iterator[Path]:
    """Folder of the pictures of a test set's latents.

    Parameters
    ----------
    folder : Path
        Of one .h5 per test window, with ``latents`` float16 [N, C, h, w].
    decoding : dict
        As `Decoding` has it.
    scratch : Path
        The folder that is yielded, removed at the end: the same files, with ``images`` uint8
        [N, px, px, 3]. A few pictures at a time are in memory.

    Raises
    ------
    UserError
        A file holds no latents, the VAE is not there, a picture is not finite, or another job works
        in `scratch`.
    """
    with only_job(scratch):
        shutil.rmtree(scratch, ignore_errors=True)  # of a job that was killed
        try:
            decode = _decoder(Decoding.model_validate(decoding))
            for path in window_files(folder):
                decode_file(path, scratch / path.name, decode)
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _decoder(settings: Decoding) -> Callable[[np.ndarray], np.ndarray]:
    from boldvision.generators.base import load_vae
    from boldvision.generators.decode import decode_latents

    vae = load_vae(settings.generator).to(best_device())
    hold_frozen(vae, settings.precision)
    how = settings.precision, settings.rounding, settings.blur_faces
    return lambda latents: decode_latents(vae, latents, *how)


def decode_file(path: Path, out: Path, decode: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write the reconstruction file `out`: pictures, by `decode`, of the latents of another."""
    with open_latents(path) as file:
        latents = file[LATENTS][:]
        ids = {
            name: plain_dataset(file, name, np.int64, latents.shape[:1])[:]
            for name in ("trial", "image_id")
        }
        dropped, label = int(file.attrs["dropped"]), read_text(file, "label")
    with atomic(out) as part, h5py.File(part, "w") as made:
        for first in range(0, len(latents), BATCH):
            some = slice(first, first + BATCH)
            pictures = decode(latents[some])
            if "images" not in made:
                shape = (len(latents), *pictures.shape[1:])
                made.create_dataset("images", shape, np.uint8, track_times=False)
            made["images"][some] = pictures
        for name, values in ids.items():
            made.create_dataset(name, data=values, track_times=False)
        made.attrs["dropped"] = dropped
        write_text(made, "label", label)
