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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boldvision.errors import UserError
from boldvision.files import atomic, reading
from boldvision.metrics import trust
from boldvision.metrics.pins import Expected, Pin, sha256_of
from boldvision.metrics.sources import DINO, DREAMSIM
from boldvision.metrics.transfer import download

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "dreamsim"
"""Of the network, and of its folder in the folder of weights."""

BACKBONE = "checkpoints/dino_vitbase16_pretrain.pth"

ADAPTERS = ("ensemble_lora/adapter_model.safetensors", "ensemble_lora/adapter_model.bin")
"""One of these, the first that is there."""

ARCHIVED = (
    "dino_vitb16_pretrain.pth",
    "clip_vitb16_pretrain.pth.tar",
    "open_clip_vitb16_pretrain.pth.tar",
    "ensemble_lora/adapter_config.json",
)


def expected(pin: Pin, folder: Path) -> Expected:
    """Digest that the files together must have.

    Raises
    ------
    UserError
        The configuration pins a revision: there is none.
    """
    if pin.revision:
        raise UserError(
            f"metrics.networks: dreamsim: expected no revision, found {pin.revision}; set "
            "`weights: pretrained` or `pretrained#sha256=DIGEST`"
        )
    path = folder / NAME
    if pin.sha256:
        return Expected(path, DREAMSIM, pin.sha256, "the configuration")
    return Expected(path, DREAMSIM, trust.digest(folder, NAME, DREAMSIM), "trust on first use")


def files(cache: Path) -> list[Path]:
    """The files that are read to build the network; the last may be either of `ADAPTERS`."""
    adapter = next((cache / name for name in ADAPTERS if (cache / name).exists()), None)
    return [cache / BACKBONE, *(cache / name for name in ARCHIVED), adapter or cache / ADAPTERS[0]]


def locate(pin: Pin, folder: Path) -> tuple[Path, str]:
    """Find and check the files.

    Returns
    -------
    folder : Path
    sha256 : str
        Digest of their names and digests.

    Raises
    ------
    UserError
        A file is missing, or they are not what is pinned or was trusted.
    """
    wanted = expected(pin, folder)
    if missing := [str(p.relative_to(wanted.path)) for p in files(wanted.path) if not p.exists()]:
        raise UserError(
            f"{wanted.path}: expected the weights of dreamsim, found no {', '.join(missing)}. Run "
            "the stage `weights` where there is a network (python -m boldvision weights "
            "--settings …)."
        )
    found = _digest(wanted.path)
    if not wanted.sha256:
        raise UserError(
            f"{wanted.path}: expected files that the stage `weights` has fetched or seen, found no "
            "record of them. Run that stage: it records their digest, which then holds."
        )
    if found != wanted.sha256:
        raise UserError(
            f"{wanted.path}: expected files with the digest {wanted.sha256} (by {wanted.known}), "
            f"found {found}. Delete the folder, check `weights` in metrics.networks and run the "
            "stage `weights` again."
        )
    return wanted.path, found


def _digest(cache: Path) -> str:
    with reading(cache, "the weights of dreamsim", "run the stage `weights` again"):
        lines = [f"{path.relative_to(cache)} {sha256_of(path)}" for path in files(cache)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fetch(pin: Pin, folder: Path) -> list[Path]:
    """Put the files into ``folder/dreamsim``, unless they are there, and check them.

    Returns
    -------
    list of Path
    """
    wanted = expected(pin, folder)
    backbone, *archived = files(wanted.path)
    if not backbone.exists():
        download(DINO, backbone).replace(backbone)
    if not all(path.exists() for path in archived):
        archive = download(DREAMSIM, wanted.path / Path(DREAMSIM).name)
        _extract(archive, wanted.path)
        archive.unlink()
    if not wanted.sha256:
        trust.remember(folder, NAME, _digest(wanted.path), DREAMSIM)
    locate(pin, folder)
    return files(wanted.path)


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
    remedy = "delete the folder and run the stage `weights` again"
    with reading(cache, "the weights of dreamsim", remedy), _hub(lambda: _backbone(cache)):
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
