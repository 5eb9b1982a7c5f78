"""DreamSim (Fu et al., 2023), an optional extra: its authors' package and weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from boldvision.errors import UserError


def load(folder: str | Path, *, download: bool = False) -> nn.Module:
    """The DreamSim ensemble, by its authors' package, which keeps its files in ``folder/dreamsim``.

    Raises
    ------
    UserError
        The package is not installed, or its weights are not in `folder`.
    """
    try:
        from dreamsim import dreamsim
    except ImportError:
        raise UserError(
            "the network `dreamsim` needs the Python package dreamsim, which is not installed: "
            "pip install 'dreamsim==0.2.1', or name another network for the role `dreamsim`"
        ) from None
    cache = Path(folder) / "dreamsim"
    if not download and not cache.is_dir():
        raise UserError(
            f"{cache}: expected the weights of dreamsim, found no such folder. Run the stage "
            "`weights` where there is a network (python -m boldvision weights --settings …)."
        )
    cache.mkdir(parents=True, exist_ok=True)
    model, _ = dreamsim(pretrained=True, device="cpu", cache_dir=str(cache))
    return model


def read(model: Any, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Embeddings, scaled so that their squared Euclidean distance is DreamSim's cosine distance."""
    embedding = model.embed(x).reshape(len(x), -1)
    return {"perceptual": nn.functional.normalize(embedding, dim=1) / 2**0.5}
