"""What earlier jobs found, kept: features of stimuli, and scores metric by metric.

Neither is an output: both may be deleted, and are computed anew where they are of something else.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from boldvision.config import Metrics
from boldvision.files import atomic, reading, sha256
from boldvision.fingerprint import fingerprint
from boldvision.metrics import weights
from boldvision.metrics.inputs import Reconstructions, Stimuli
from boldvision.metrics.measures import MEASURES, Scored
from boldvision.metrics.protocols import Resize, resize

BLOCK = 128
"""Images whose features are in memory at a time."""

PACKAGES = ("numpy", "scipy", "scikit-image", "pillow", "torch", "torchvision", "transformers")
"""Packages that compute; another version of one may give another value."""

COMPUTING = ("boldvision.metrics.scoring", "boldvision.metrics.inputs")
"""Modules that compute, with all that they import; not those that sum up and write."""

WITHOUT_EFFECT = {"networks", "sets", "batch_size", "weights_folder"}
"""Settings of the metrics that change no value, but `networks`, each of which enters by itself."""

Extract = Callable[[np.ndarray, Sequence[str]], dict[str, np.ndarray]]


@cache
def code() -> str:
    """What computes: a digest of the code of the metrics, and versions of packages."""
    return " ".join([fingerprint(*COMPUTING), *(f"{name} {version(name)}" for name in PACKAGES)])


class KeptScores:
    """Scores of the test windows of a test set, one file per metric.

    The first line of a file is a digest of its scores and of all that they depend on: pictures,
    stimuli, settings, the network and its weights, the seed, the code. Where it is another, the
    scores are of something else, or damaged, and new ones will replace them.

    Parameters
    ----------
    folder : Path
        Of this test set alone.
    windows : sequence of Reconstructions
    stimuli : Stimuli
    settings : Metrics
    seed : int
        Of bootstrap samples and of the pairs of chance.
    """

    def __init__(
        self,
        folder: Path,
        windows: Sequence[Reconstructions],
        stimuli: Stimuli,
        *,
        settings: Metrics,
        seed: int,
    ) -> None:
        self._folder, self._settings = folder, settings
        self._basis = {
            "pictures": {window.window: sha256(window.path) for window in windows},
            "stimuli": stimuli.digest,
            "settings": settings.model_dump(mode="json", exclude=WITHOUT_EFFECT),
            "seed": seed,
            "code": code(),
        }

    def read(self, metric: str) -> dict[str, Scored] | None:
        """Scores of every test window; None if there are none of these pictures and settings."""
        path = self._path(metric)
        if not path.exists():
            return None
        with reading(path, "kept scores", "delete it and run again"):
            digest, _, content = path.read_bytes().partition(b"\n")
            if digest != self._digest(metric, content):
                return None
            found = json.loads(content)
            return {
                window: Scored(np.array(values), chance, (low, high), undefined, tied)
                for window, (values, chance, low, high, undefined, tied) in found.items()
            }

    def keep(self, metric: str, scores: dict[str, Scored]) -> None:
        """Keep finite scores; several jobs may: each renames a copy of its own, whole."""
        plain = {
            window: [x.values.tolist(), x.chance, *x.interval, x.undefined, x.tied]
            for window, x in scores.items()
        }
        content = json.dumps(plain, allow_nan=False).encode()
        path = self._path(metric)
        own = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.kept")
        with atomic(own) as part:
            part.write_bytes(self._digest(metric, content) + b"\n" + content)
        own.replace(path)

    def _path(self, metric: str) -> Path:
        return self._folder / f"{metric}.kept"

    def _digest(self, metric: str, content: bytes) -> bytes:
        basis = self._basis | {"metric": metric}
        settings = self._settings
        if network := settings.networks.get(MEASURES[metric].role):
            basis["network"] = weights.identity(
                network, protocol=settings.protocol, folder=settings.weights_folder
            )
        return hashlib.sha256(json.dumps(basis).encode() + content).hexdigest().encode()


def cached_features(
    stimuli: Stimuli,
    steps: tuple[Resize, ...],
    extract: Extract,
    layers: Sequence[str],
    identity: str,
    folder: Path,
) -> dict[str, np.ndarray]:
    """Features of the stimuli, computed unless an earlier job with the same input kept them.

    A file's name holds a digest of the network's weights, the resizes, the pixels and the code, and
    ends in its own sha256: one that is not as it was written is computed anew. Two jobs may compute
    the same file: each renames its own copy, whole.

    Returns
    -------
    dict of array [m, features]
        Mapped from the files.
    """
    basis = f"{identity} {steps} {stimuli.digest} {code()}"
    name = re.sub(r"[^a-z0-9]+", "-", identity.split()[0].lower())
    stem = f"{name}-{hashlib.sha256(basis.encode()).hexdigest()[:24]}"
    paths = {layer: _kept(folder, f"{stem}-{layer}") for layer in layers}
    missing = [layer for layer, path in paths.items() if path is None]
    if missing:
        blocks = [
            extract(resize(stimuli.images[first : first + BLOCK], steps), missing)
            for first in range(0, len(stimuli.images), BLOCK)
        ]
        for layer in missing:
            own = folder / f"{stem}-{layer}-{uuid.uuid4().hex}.npy"
            with atomic(own) as part:
                np.save(part, np.concatenate([block[layer] for block in blocks]))
            paths[layer] = own.replace(folder / f"{stem}-{layer}.{sha256(own)}.npy")
    return {layer: np.load(path, mmap_mode="r") for layer, path in paths.items() if path}


def _kept(folder: Path, stem: str) -> Path | None:
    """The kept file of some features, if it is as it was written."""
    for path in sorted(folder.glob(f"{stem}.{'?' * 64}.npy")):
        with reading(path, "features of stimuli", "delete it and run again"):
            if sha256(path) == path.name.split(".")[-2]:
                return path
    return None
