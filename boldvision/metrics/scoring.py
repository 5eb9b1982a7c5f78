"""Scores of reconstructions, image by image, for any number of test windows."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boldvision.config import Metrics
from boldvision.errors import UserError
from boldvision.files import atomic, reading, sha256
from boldvision.fingerprint import fingerprint
from boldvision.metrics.identification import compare_all, correlations
from boldvision.metrics.inputs import Reconstructions
from boldvision.metrics.intervals import bootstrap_interval, identification_interval
from boldvision.metrics.measures import MEASURES, UNDEFINED, Measure, compare
from boldvision.metrics.protocols import PROTOCOLS, Resize, resize
from boldvision.seeds import numpy_generator

BLOCK = 128
"""Images whose features are in memory at a time."""

CHANCE_IMAGES = 100
"""Reconstructions that chance is the mean of, at most; no more than a block."""

CORRELATED = {"pixcorr", "correlation_distance"}
"""Kinds of comparison by correlation: all pairs cost no more than a few."""

Extract = Callable[[np.ndarray, Sequence[str]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Scored:
    """One metric in one test window.

    Attributes
    ----------
    values : array [n], float64
        One per reconstruction, as a fraction.
    chance : float
        Expected of a reconstruction that is unrelated to its stimulus: 0.5 for two-way
        identification, else the mean over pairs of a reconstruction and another image's stimulus
        (all pairs for correlations, one for each reconstruction for the rest).
    interval : (float, float)
        95 % interval of the mean, over images.
    undefined : int
        Values that were undefined (constant image) and count as uncorrelated.
    tied : int
        Comparisons of two-way identification that were ties and count as lost.
    """

    values: np.ndarray
    chance: float
    interval: tuple[float, float]
    undefined: int
    tied: int = 0


@dataclass(frozen=True)
class Stimuli:
    """The stimuli of all test windows: `images` uint8 [m, px, px, 3], sorted distinct ids [m]."""

    images: np.ndarray
    image_id: np.ndarray

    def rows(self, image_id: np.ndarray) -> np.ndarray:
        """Rows of the given ids."""
        return np.searchsorted(self.image_id, image_id)


def score(
    windows: Sequence[Reconstructions],
    stimuli: Stimuli,
    *,
    settings: Metrics,
    metrics: Sequence[str],
    cache: Path,
    seed: int,
) -> dict[tuple[str, str], Scored]:
    """Score every test window with every metric, loading each network once.

    Parameters
    ----------
    windows : sequence of Reconstructions
    stimuli : Stimuli
    settings : Metrics
        Protocol, direction and networks.
    metrics : sequence of str
        Names of `MEASURES`.
    cache : Path
        Folder where features of stimuli are kept from one call to the next.
    seed : int
        Of the random pairs behind `Scored.chance`, and of bootstrap samples.

    Returns
    -------
    dict
        ``scores[test_window, metric]``.

    Raises
    ------
    UserError
        A metric or network is unknown, cannot do what its role asks, or lacks its weights.
    """
    scores = {}
    for role in dict.fromkeys(_measure(name).role for name in metrics):
        chosen = {name: MEASURES[name] for name in metrics if MEASURES[name].role == role}
        layers = list(dict.fromkeys(measure.layer for measure in chosen.values()))
        extract, identity = _extractor(role, layers, settings)
        steps = PROTOCOLS[settings.protocol].steps("stimulus", role)
        if identity is None:
            features = extract(resize(stimuli.images, steps), layers)
        else:
            features = cached_features(stimuli, steps, extract, layers, identity, cache)
        for window in windows:
            found = _score_window(window, stimuli, features, chosen, extract, settings, seed)
            scores.update({(window.window, name): scored for name, scored in found.items()})
    return scores


def _measure(name: str) -> Measure:
    if name not in MEASURES:
        raise UserError(f"metrics.sets: {name!r}: expected one of {', '.join(MEASURES)}")
    return MEASURES[name]


def _extractor(role: str, layers: Sequence[str], settings: Metrics) -> tuple[Extract, str | None]:
    """Feature function of a role and the identity of its network, None for the pixels."""
    if role == "pixels":
        return (lambda images, layers: {"pixels": images}), None
    from boldvision.metrics.networks import FeatureNetwork

    if role not in settings.networks:
        raise UserError(f"metrics.networks: expected a network for the role {role}, found none")
    chosen = settings.networks[role]
    network = FeatureNetwork(
        chosen,
        protocol=settings.protocol,
        folder=settings.weights_folder,
        batch_size=settings.batch_size,
    )
    if missing := set(layers) - set(network.layers):
        raise UserError(
            f"metrics.networks: {role}: {chosen.name} returns {', '.join(network.layers)}, but "
            f"this role needs {', '.join(sorted(missing))}; choose another network"
        )
    return network, network.identity


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
    code = fingerprint("boldvision.metrics")
    digest = hashlib.sha256(f"{identity} {steps} {code}".encode())
    digest.update(stimuli.image_id.astype(np.int64).tobytes())
    digest.update(np.ascontiguousarray(stimuli.images).data)
    stem = f"{re.sub(r'[^a-z0-9]+', '-', identity.split()[0].lower())}-{digest.hexdigest()[:24]}"
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


def _score_window(
    window: Reconstructions,
    stimuli: Stimuli,
    features: dict[str, np.ndarray],
    chosen: dict[str, Measure],
    extract: Extract,
    settings: Metrics,
    seed: int,
) -> dict[str, Scored]:
    protocol = PROTOCOLS[settings.protocol]
    steps = protocol.steps("reconstruction", next(iter(chosen.values())).role)
    layers = list(dict.fromkeys(measure.layer for measure in chosen.values()))
    rows = stimuli.rows(window.image_id)
    other = rows_of_another_image(rows, seed)
    true: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    unrelated: dict[str, np.ndarray] = {}
    for first in range(0, len(rows), BLOCK):
        some = slice(first, first + BLOCK)
        found = extract(resize(window.images(some), steps), layers)
        for name, measure in chosen.items():
            kept, new = features[measure.layer], found[measure.layer]
            if measure.kind == "two_way":
                true[name].append(correlations(stimuli=kept, predictions=new))
                continue
            true[name].append(compare(measure, kept[rows[some]], new, protocol))
            if first == 0:
                few = slice(CHANCE_IMAGES)
                if measure.kind in CORRELATED:
                    unrelated[name] = _unrelated_correlations(measure, kept, new[few], rows[few])
                else:
                    unrelated[name] = compare(measure, kept[other[few]], new[few], protocol)
    scored = {}
    for name, measure in chosen.items():
        if measure.kind == "two_way":
            r = np.concatenate(true[name], axis=1)
            scored[name] = _identification(r, rows, settings)
        else:
            values, chance, undefined = _paired(measure, true[name], unrelated[name])
            interval = bootstrap_interval(values, rows, samples=settings.bootstrap, seed=seed)
            scored[name] = Scored(values, chance, interval, undefined)
    return scored


def _identification(r: np.ndarray, rows: np.ndarray, settings: Metrics) -> Scored:
    """Among the stimuli of this window only."""
    present, pairs = np.unique(rows, return_inverse=True)
    compared = compare_all(correlations=r[present], direction=settings.direction, pairs=pairs)
    interval = identification_interval(compared.won, pairs, compared.image)
    undefined = int(np.isnan(r[rows, np.arange(len(rows))]).sum())
    return Scored(compared.scores, 0.5, interval, undefined, compared.tied)


def _paired(
    measure: Measure, true: list[np.ndarray], unrelated: np.ndarray
) -> tuple[np.ndarray, float, int]:
    """Values, chance, and how many values were undefined."""
    values = np.concatenate(true)
    undefined = np.isnan(values)
    instead = UNDEFINED.get(measure.kind, np.nan)
    values = np.where(undefined, instead, values)
    chance = np.where(np.isnan(unrelated), instead, unrelated)
    return values, float(chance.mean()), int(undefined.sum())


def _unrelated_correlations(
    measure: Measure, kept: np.ndarray, new: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Scores of every reconstruction on the stimuli of all others that are of another image."""
    present = np.unique(rows)
    r = correlations(
        stimuli=kept[present].reshape(len(present), -1), predictions=new.reshape(len(new), -1)
    )
    r = r[present[:, None] != rows]
    return r if measure.kind == "pixcorr" else 1 - r


def rows_of_another_image(rows: np.ndarray, seed: int) -> np.ndarray:
    """For each row, that of another image: the next in a random circle of all images."""
    present, index = np.unique(rows, return_inverse=True)
    circle = numpy_generator(seed, "chance").permutation(len(present))
    following = np.empty_like(circle)
    following[circle] = np.roll(circle, -1)
    return present[following[index]]
