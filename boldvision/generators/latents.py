"""VAE posteriors of a subject's images, computed once.

Training draws a latent from the stored mean and log-variance, so no step pays for the encoder
(1.117 TFLOP per 512-px image, more than the U-Net's forward pass).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np

from boldvision import config
from boldvision.cli import settings_from
from boldvision.errors import UserError
from boldvision.files import atomic


class LatentCache:
    """Stored posteriors, read in full: [N, C, h, w] each (0.66 GB for 10,000 images at 512 px).

    Parameters
    ----------
    path : str or Path
        File written by :func:`main`.

    Attributes
    ----------
    image_id : ndarray of int64, [N]
        1-based, sorted.
    mean, logvar : ndarray of float16, [N, C, h, w]
        Of the posterior, before the VAE's scaling factor.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with h5py.File(path) as file:
            self.image_id = file["image_id"][:]
            self.mean = file["mean"][:]
            self.logvar = file["logvar"][:]

    def rows(self, image_ids: np.ndarray) -> np.ndarray:
        """Rows of the cache that hold `image_ids`.

        Raises
        ------
        UserError
            An image is not in the cache.
        """
        rows = np.searchsorted(self.image_id, image_ids).clip(max=len(self.image_id) - 1)
        missing = np.unique(image_ids[self.image_id[rows] != image_ids])
        if len(missing):
            raise UserError(
                f"{self.path}: no latents of images {missing[:5].tolist()} ({len(missing)} in "
                "all). Delete the file and run again to encode the images that are needed now."
            )
        return rows


def encode(settings: config.Generator, images: Path, out: Path, device: str, batch: int) -> None:
    """Encode every picture of `images` and write the cache `out`."""
    import torch

    from boldvision.generators.base import load_generator
    from boldvision.generators.images import to_tensor

    vae = load_generator(settings).to(device).vae
    with h5py.File(images) as source, atomic(out) as part, h5py.File(part, "w") as target:
        pictures = source["images"]
        target["image_id"] = source["image_id"][:]
        for start in range(0, len(pictures), batch):
            batch_images = to_tensor(pictures[start : start + batch], settings.image_px)
            with torch.no_grad():
                posterior = vae.encode(batch_images.to(device)).latent_dist
            for name, values in (("mean", posterior.mean), ("logvar", posterior.logvar)):
                if name not in target:
                    shape = (len(pictures), *values.shape[1:])
                    target.create_dataset(name, shape, np.float16)
                target[name][start : start + batch] = values.cpu().numpy()


def main(argv: list[str]) -> None:
    """Stage `latents`."""
    parser = argparse.ArgumentParser(prog="boldvision latents", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the generator's configuration")
    parser.add_argument("--images", type=Path, required=True, help="images of one subject, h5")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args(argv)
    from boldvision.training.device import best_device

    settings = config.Generator(**settings_from(arguments.settings))
    encode(settings, arguments.images, arguments.out, best_device(), arguments.batch_size)
