"""Scores of reconstructions, image by image, for any number of test windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from boldvision.config import Metrics
from boldvision.errors import UserError
from boldvision.metrics.identification import compare_all, correlations
from boldvision.metrics.inputs import Reconstructions, Stimuli
from boldvision.metrics.intervals import bootstrap_interval, identification_interval
from boldvision.metrics.kept import BLOCK, Extract, KeptScores, cached_features
from boldvision.metrics.measures import MEASURES, UNDEFINED, Measure, Scored, compare
from boldvision.metrics.protocols import PROTOCOLS, resize
from boldvision.seeds import numpy_generator

if TYPE_CHECKING:
    from boldvision.metrics.networks import FeatureNetwork

CHANCE_IMAGES = 100
"""Reconstructions that chance is the mean of, at most; no more than a block."""

CORRELATED = {"pixcorr", "correlation_distance"}
"""Kinds of comparison by correlation: all pairs cost no more than a few."""


def score(
    windows: Sequence[Reconstructions],
    stimuli: Stimuli,
    *,
    settings: Metrics,
    metrics: Sequence[str],
    cache: Path,
    kept: Path,
    seed: int,
    threads: int,
) -> dict[tuple[str, str], Scored]:
    """Score every test window with every metric, loading each network once, if at all.

    Parameters
    ----------
    windows : sequence of Reconstructions
    stimuli : Stimuli
    settings : Metrics
        Protocol, direction and networks.
    metrics : sequence of str
        Names of `MEASURES`.
    cache, kept : Path
        Folders of features of stimuli and of scores of this test set: `boldvision.metrics.kept`.
    seed : int
        Of the random pairs behind `Scored.chance`, and of bootstrap samples.
    threads : int

    Returns
    -------
    dict
        ``scores[test_window, metric]``.

    Raises
    ------
    UserError
        A metric or network is unknown, cannot do what its role asks, or lacks its weights; a score
        is no number.
    """
    scores = {}
    earlier = KeptScores(kept, windows, stimuli, settings=settings, seed=seed)
    for role in dict.fromkeys(_measure(name).role for name in metrics):
        names = [name for name in metrics if MEASURES[name].role == role]
        found = {name: scored for name in names if (scored := earlier.read(name))}
        if missing := {name: MEASURES[name] for name in names if name not in found}:
            new = _score_role(role, missing, windows, stimuli, settings, cache, seed, threads)
            for name in missing:
                earlier.keep(name, new[name])
            found |= new
        scores.update({(w.window, name): found[name][w.window] for w in windows for name in names})
    return scores


def _score_role(
    role: str,
    chosen: dict[str, Measure],
    windows: Sequence[Reconstructions],
    stimuli: Stimuli,
    settings: Metrics,
    cache: Path,
    seed: int,
    threads: int,
) -> dict[str, dict[str, Scored]]:
    """``scores[metric][test_window]`` of the metrics of a role; torch is first needed here."""
    import torch

    torch.set_num_threads(threads)
    layers = list(dict.fromkeys(measure.layer for measure in chosen.values()))
    steps = PROTOCOLS[settings.protocol].steps("stimulus", role)
    extract: Extract
    if role == "pixels":
        extract = _pixels
        features = extract(resize(stimuli.images, steps), layers)
    else:
        extract = network = _network(role, layers, settings)
        features = cached_features(stimuli, steps, extract, layers, network.identity, cache)
    scores: dict[str, dict[str, Scored]] = {name: {} for name in chosen}
    for window in windows:
        found = _score_window(window, stimuli, features, chosen, extract, settings, seed)
        for name, scored in found.items():
            check_finite(window, name, scored)
            scores[name][window.window] = scored
    return scores


def _measure(name: str) -> Measure:
    if name not in MEASURES:
        raise UserError(f"metrics.sets: {name!r}: expected one of {', '.join(MEASURES)}")
    return MEASURES[name]


def _pixels(images: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
    return {"pixels": images}


def _network(role: str, layers: Sequence[str], settings: Metrics) -> FeatureNetwork:
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
    return network


def check_finite(window: Reconstructions, metric: str, scored: Scored) -> None:
    """Refuse a score that is no number.

    Raises
    ------
    UserError
        A value, its interval or its chance is NaN or infinite.
    """
    numbers = np.array([*scored.values, *scored.interval, scored.chance])
    if bad := int((~np.isfinite(numbers)).sum()):
        raise UserError(
            f"{window.path}: expected finite scores, found {bad} of {metric} that are "
            "NaN or infinite. Look at these pictures; if they are as they should be, the "
            "weights of that metric's network are not: fetch them again."
        )


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
