"""DreamSim (Fu et al., 2023), an optional extra: its authors' package and weights.

The package would download weights without a check, and run the code of a branch of another
repository to build one backbone. Here the stage `weights` fetches the files, and that backbone is
built from the package's own copy of the code: to load the network nothing is fetched.
"""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boldvision.errors import UserError
from boldvision.files import atomic, reading
from boldvision.metrics.pins import sha256_of
from boldvision.metrics.sources import DINO, REMEDY, SETTING
from boldvision.transfer import download

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "dreamsim"
"""Of the network."""

BACKBONE = "checkpoints/dino_vitbase16_pretrain.pth"

ADAPTERS = ("ensemble_lora/adapter_model.safetensors", "ensemble_lora/adapter_model.bin")
"""One of these, the first that is there."""

ARCHIVED = (
    "dino_vitb16_pretrain.pth",
    "clip_vitb16_pretrain.pth.tar",
    "open_clip_vitb16_pretrain.pth.tar",
    "ensemble_lora/adapter_config.json",
)


def files(cache: Path) -> list[Path]:
    """The files that are read to build the network; the last may be either of `ADAPTERS`."""
    adapter = next((cache / name for name in ADAPTERS if (cache / name).exists()), None)
    return [cache / BACKBONE, *(cache / name for name in ARCHIVED), adapter or cache / ADAPTERS[0]]


def digest(cache: Path) -> str:
    """Digest of the names and digests of the files."""
    lines = [f"{path.relative_to(cache)} {sha256_of(path)}" for path in files(cache)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def installed() -> str:
    """Version of the package, which computes; empty if it is not installed."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return ""


def fetch(url: str, cache: Path) -> list[Path]:
    """Put the files into `cache`, unless they are there.

    Returns
    -------
    list of Path
    """
    backbone, *archived = files(cache)
    if not backbone.exists():
        download(DINO, backbone, SETTING).replace(backbone)
    if not all(path.exists() for path in archived):
        archive = download(url, cache / Path(url).name, SETTING)
        _extract(archive, cache)
        archive.unlink()
    return files(cache)


def _extract(archive: Path, cache: Path) -> None:
    remedy = "delete it and run the stage `weights` again"
    with reading(archive, "the archive of DreamSim", remedy), zipfile.ZipFile(archive) as opened:
        inside = set(opened.namelist())
        for name in [*ARCHIVED, *(name for name in ADAPTERS if name in inside)]:
            with opened.open(name) as source, atomic(cache / name) as part, part.open("wb") as file:
                while block := source.read(1 << 20):
                    file.write(block)


def load(cache: Path, device: str) -> nn.Module:
    """The DreamSim ensemble on `device`, from checked files.

    It is built there: its projections are plain tensors, which do not follow when it is moved.

    Raises
    ------
    UserError
        The package is not installed, or a file is not what it reads.
    """
    try:
        package = importlib.import_module("dreamsim")
    except ImportError as error:
        raise UserError(
            "the network `dreamsim` needs the Python package dreamsim and what it imports "
            f"({error}): pip install 'dreamsim==0.2.1', or name another network for the role "
            "`dreamsim`"
        ) from None
    with reading(cache, "the weights of dreamsim", REMEDY), _hub(lambda: _backbone(cache)):
        model, _ = package.dreamsim(pretrained=True, device=device, cache_dir=str(cache))
    return model


@contextmanager
def _hub(build: Callable[[], nn.Module]) -> Iterator[None]:
    """Answer `torch.hub.load` with `build`, so that no code is fetched and run."""
    import torch

    kept = torch.hub.load, torch.hub.get_dir()
    torch.hub.load = lambda *_, **__: build()
    try:
        yield
    finally:
        torch.hub.load = kept[0]
        torch.hub.set_dir(kept[1])


def _backbone(cache: Path) -> nn.Module:
    import torch

    code = importlib.import_module("dreamsim.feature_extraction.vision_transformer")
    model = code.vit_base(patch_size=16, num_classes=0)
    model.load_state_dict(torch.load(cache / BACKBONE, map_location="cpu", weights_only=True))
    return model


def read(model: Any, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Embeddings, scaled so that their squared Euclidean distance is DreamSim's cosine distance."""
    from torch.nn.functional import normalize

    embedding = model.embed(x).reshape(len(x), -1)
    return {"perceptual": normalize(embedding, dim=1) / 2**0.5}
