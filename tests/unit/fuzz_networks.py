"""Small files of frozen networks and of captions, as `fuzz_files` lists them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from boldvision.captions import read_captions, write_captions
from boldvision.datasets.nsd.annotations import read_captions_of
from boldvision.networks.autoencoder import keys as autoencoder_keys
from boldvision.networks.clip import network as clip
from boldvision.networks.clip import pretrain as clip_pretrain
from boldvision.networks.clip.settings import Network as ClipNetwork
from boldvision.networks.convnext import keys as convnext_keys
from boldvision.networks.convnext import network as convnext
from boldvision.networks.convnext.settings import Network as ConvNextNetwork
from boldvision.networks.pretraining import save_half
from boldvision.networks.vdvae import keys as vdvae_keys
from boldvision.networks.vdvae import network as vdvae
from boldvision.networks.vdvae.settings import Network as VdvaeNetwork
from boldvision.networks.vdvae.sizes import Sizes

VDVAE = Sizes(
    image_px=2, width=2, middle=1, zdim=1, mixtures=1, encoder="2x1,2d2,1x1",
    decoder="1x1,2m1", latent_blocks=1,
)  # fmt: skip
ATTENTION = "encoder.mid_block.attentions.0.query.weight"
SAID = {1: ["a small red boat", "there is a boat"], 2: ["blue sky"]}


def write_convnext(path: Path) -> None:
    torch.manual_seed(0)
    state = convnext.ConvNext(_convnext(path)).state_dict()
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, path)


def read_convnext(path: Path) -> dict[str, np.ndarray]:
    settings = _convnext(path)
    convnext_keys.converted({"checkpoint": path}, Path(settings.folder))
    return _numbers(convnext.load(settings))


def _convnext(path: Path) -> ConvNextNetwork:
    sizes = {"image_px": 8, "depths": (1,), "widths": (4,), "width": 4}
    return ConvNextNetwork(kind="convnext", folder=f"{path}.converted", **sizes)


def write_vdvae(path: Path) -> None:
    torch.manual_seed(0)
    torch.save(vdvae.Vdvae(VDVAE).state_dict(), path, _use_new_zipfile_serialization=False)


def read_vdvae(path: Path) -> dict[str, np.ndarray]:
    out = Path(f"{path}.converted")
    vdvae_keys.converted({vdvae_keys.EMA: path}, out, VDVAE)
    sizes = {"latents": VDVAE.latents(), "encode_teraflop": 1, "decode_teraflop": 1}
    return _numbers(vdvae.load(VdvaeNetwork(kind="vdvae", folder=str(out), **sizes)))


def write_autoencoder(path: Path) -> None:
    torch.save({ATTENTION: torch.arange(6.0), "encoder.conv_in.bias": torch.ones(2)}, path)


def read_autoencoder(path: Path) -> list[str]:
    out = path.parent / "converted"
    autoencoder_keys.converted({"weights": path}, out)
    return sorted(load_file(out / autoencoder_keys.WEIGHTS))


def of_clip(file: str) -> tuple[Callable[[Path], None], Callable[[Path], dict[str, np.ndarray]]]:
    """Of the files of a CLIP, the one that is damaged is `path`."""

    def write(path: Path) -> None:
        folder = path.parent / f"of_{path.name}"
        folder.mkdir()
        tokenizer = clip_pretrain.new_tokenizer()
        tokenizer.save(str(folder / clip.TOKENIZER))
        sizes = clip_pretrain.sizes(tokenizer.get_vocab_size())
        narrow = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1}
        sizes = {part: own | narrow for part, own in sizes.items()}
        (folder / clip.SIZES).write_text(json.dumps(sizes))
        torch.manual_seed(0)
        save_half(clip.Clip(sizes, tokenizer).published(), folder / clip.WEIGHTS)
        (folder / file).rename(path)
        (folder / file).symlink_to(path)

    def read(path: Path) -> dict[str, np.ndarray]:
        sizes = {"image_tokens": 17, "text_tokens": 16, "width": 64}
        cost = {"image_teraflop": 1, "text_teraflop": 1}
        folder = str(path.parent / f"of_{path.name}")
        found = clip.load(ClipNetwork(kind="clip", folder=folder, **sizes, **cost))
        return {"ids": found.token_ids(SAID[1]).numpy(), **_numbers(found)}

    return write, read


def _numbers(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def write_said(path: Path) -> None:
    write_captions(path, SAID)


def read_said(path: Path) -> list[Any]:
    return read_captions(path, np.array([2, 1]))


def write_stimulus_table(path: Path) -> None:
    numbers = {"nsdId": range(9), "cocoId": range(20, 29), "cocoSplit": "train2017"}
    pd.DataFrame(numbers).to_csv(path)


def write_annotations(path: Path) -> None:
    said = [{"image_id": 20, "caption": text} for text in SAID[1]]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps({"info": {}, "annotations": said})
        archive.writestr("annotations/captions_train2017.json", text)


def read_annotations(path: Path) -> list[str] | None:
    return read_captions_of(path, {"train2017": {20}}, 5).get(("train2017", 20))
