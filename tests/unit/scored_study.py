"""Stimuli and reconstructions of them, to be scored."""

import json

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from boldvision import cli
from boldvision.images import write_images

NETWORKS = {
    "alexnet": {"name": "alexnet", "weights": "random"},
    "clip": {"name": "vit_small", "weights": "random", "label": "small random ViT"},
    "efficientnet": {"name": "vit_small", "weights": "random"},
}
SMALL = ["pixcorr", "clip", "efficientnet"]


def write_window(folder, name, images, image_id, **attrs):
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file["images"], file["image_id"] = images, image_id
        file["trial"] = np.arange(len(images)) + 10
        file.attrs.update({"dropped": 2, "label": "tiny generator"} | attrs)


def make_study(folder):
    """Twelve stimuli; a window of perfect reconstructions and one of noise and repetitions."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
    stimuli = np.stack([np.asarray(Image.fromarray(s).resize((48, 48))) for s in small])
    image_id = 3 * np.arange(12) + 1
    write_images(folder / "images.h5", image_id, [stimuli], {})
    order = rng.permutation(10)
    write_window(folder / "made", "main", stimuli[order], image_id[order])
    noise = rng.integers(0, 256, (20, 48, 48, 3), dtype=np.uint8)
    repeated = np.repeat(image_id[1:11], 2)
    write_window(folder / "made", "main+1", noise, repeated)
    return folder


def run(study, metrics=SMALL, seed=0, made="made", kept="kept", decode=None, **changes):
    """Stage `evaluate` on the pictures of a folder of the study."""
    settings = {"networks": NETWORKS, "sets": {}, "bootstrap": 100, "set": metrics} | changes
    arguments = {
        "--reconstructions": study / made,
        "--images": study / "images.h5",
        "--settings": json.dumps(settings),
        "--cache": study / "cache",
        "--kept": study / kept,
        "--seed": seed,
        "--threads": 1,
        "--out": study / "out.parquet",
        "--summary": study / "out.json",
    }
    if decode:
        arguments["--decode"] = decode
    return cli.main(["evaluate", *(str(part) for pair in arguments.items() for part in pair)])


def results(study):
    return pd.read_parquet(study / "out.parquet"), json.loads((study / "out.json").read_text())
