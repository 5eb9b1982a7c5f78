"""VAE posteriors of a subject's images, computed once.

Training draws a latent from the stored mean and log-variance, so no step pays for the encoder
(1.117 TFLOP per 512-px image, more than the U-Net's forward pass).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import h5py
import numpy as np

from boldvision import config
from boldvision.cli import settings_from
from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.hdf5 import open_hdf5, plain_dataset, read_text, write_text
from boldvision.images import ImageStack

DIGEST = "sha256"


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

    Raises
    ------
    UserError
        The file is missing, or not as it was written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with open_hdf5(path, "a cache of latents", "run the stage `latents` again") as file:
            ids = plain_dataset(file, "image_id", np.int64, (None,))
            mean = plain_dataset(file, "mean", np.float16, (len(ids), None, None, None))
            logvar = plain_dataset(file, "logvar", np.float16, mean.shape)
            self.image_id, self.mean, self.logvar = ids[:], mean[:], logvar[:]
            if digest(self.image_id, self.mean, self.logvar) != read_text(file, DIGEST):
                raise ValueError("other values than were written")

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
                "all). Run the stage `latents` again to encode the images that are needed now."
            )
        return rows


def digest(*values: np.ndarray) -> str:
    """The sha256 of a cache's values."""
    sha256 = hashlib.sha256()
    for array in values:
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def encode(settings: config.Generator, images: Path, out: Path, device: str, batch: int) -> None:
    """Encode every picture of `images` and write the cache `out`.

    Raises
    ------
    UserError
        A posterior is not finite as float16.
    """
    import torch

    from boldvision.generators.base import load_generator
    from boldvision.generators.images import to_tensor

    vae = load_generator(settings).to(device).vae
    pictures = ImageStack(images)
    with atomic(out) as part, h5py.File(part, "w") as target:
        target["image_id"] = pictures.image_id
        for start in range(0, len(pictures), batch):
            ids = pictures.image_id[start : start + batch]
            batch_images = to_tensor(pictures.read(ids), settings.image_px)
            with torch.no_grad():
                posterior = vae.encode(batch_images.to(device)).latent_dist
            for name, values in (("mean", posterior.mean), ("logvar", posterior.logvar)):
                if name not in target:
                    shape = (len(pictures), *values.shape[1:])
                    target.create_dataset(name, shape, np.float16)
                target[name][start : start + batch] = values.cpu().numpy()
                bad = ~np.isfinite(target[name][start : start + batch]).all(axis=(1, 2, 3))
                if bad.any():
                    raise UserError(
                        f"{images}: expected finite latents, found NaN or infinity in the {name} "
                        f"of image {target['image_id'][start + bad.argmax()]}. The generator in "
                        f"{settings.folder} is damaged, or of another kind: fetch it anew."
                    )
        values = (target[name][:] for name in ("image_id", "mean", "logvar"))
        write_text(target, DIGEST, digest(*values))


def main(argv: list[str]) -> None:
    """Stage `latents`."""
    parser = argparse.ArgumentParser(prog="boldvision latents", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the generator's configuration")
    parser.add_argument("--images", type=Path, required=True, help="images of one subject, h5")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args(argv)
    from boldvision.device import best_device

    settings = config.Generator(**settings_from(arguments.settings))
    encode(settings, arguments.images, arguments.out, best_device(), arguments.batch_size)
