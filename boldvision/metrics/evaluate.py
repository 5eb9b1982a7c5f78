"""Score reconstructions: every metric per image, and pooled with intervals."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boldvision.cli import settings_from
from boldvision.config import Metrics, Network
from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.metrics import weights
from boldvision.metrics.identification import TIES
from boldvision.metrics.measures import MEASURES, Scored

if TYPE_CHECKING:
    import pandas as pd

    from boldvision.metrics.inputs import Reconstructions

BOOTSTRAP_INTERVAL = "95 %, bootstrap over images"

IDENTIFICATION_INTERVAL = (
    "95 %, Wilson with the jackknife's variance over images, each left out as tested and as "
    "competitor; near 1 with under 100 images, or where few images lose much, it is a rough one"
)
"""Its coverage is in docs/decisions.md."""


def per_image(
    windows: Sequence[Reconstructions], scores: dict[tuple[str, str], Scored]
) -> pd.DataFrame:
    """One row per reconstruction and metric."""
    import pandas as pd

    by_name = {window.window: window for window in windows}
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "test_window": test_window,
                    "trial": by_name[test_window].trial,
                    "image_id": by_name[test_window].image_id,
                    "metric": metric,
                    "value": scored.values,
                }
            )
            for (test_window, metric), scored in scores.items()
        ],
        ignore_index=True,
    )


def summarize(
    windows: Sequence[Reconstructions],
    scores: dict[tuple[str, str], Scored],
    *,
    settings: Metrics,
    metrics: Sequence[str],
    constant: dict[str, int],
    seed: int,
) -> dict[str, Any]:
    """Pooled scores, and everything needed to read them: see `docs/architecture.md`."""
    return {
        "protocol": settings.protocol,
        "direction": settings.direction,
        "generator_label": windows[0].label,
        "bootstrap": settings.bootstrap,
        "seed": seed,
        "metrics": {name: _describe(name, settings) for name in metrics},
        "dropped": {window.window: window.dropped for window in windows},
        "constant": constant,
        "windows": {
            window.window: {name: _pooled(scores[window.window, name]) for name in metrics}
            for window in windows
        },
    }


def check(windows: Sequence[Reconstructions]) -> dict[str, int]:
    """Pictures of every test window whose pixels are all equal.

    Raises
    ------
    UserError
        They are of several generators, or all pictures of a window are constant.
    """
    labels = {window.label for window in windows}
    if len(labels) > 1:
        raise UserError(
            f"{windows[0].path.parent}: expected reconstructions of one generator, found "
            f"{', '.join(map(repr, sorted(labels)))}. Run `reconstruct` again."
        )
    constant = {window.window: window.constant() for window in windows}
    for window in windows:
        if constant[window.window] == len(window.image_id):
            raise UserError(
                f"{window.path}: expected pictures of images, found {len(window.image_id)} in "
                "which all pixels are equal: the model that made them has failed. Look at the "
                "losses in its training.json, train it again and run `reconstruct` again."
            )
    return constant


def _describe(name: str, settings: Metrics) -> dict[str, Any]:
    """Chance is given here where it does not depend on the reconstructions."""
    measure = MEASURES[name]
    network = settings.networks.get(measure.role)
    genuine = measure.is_genuine(network)
    label = network.label if network else ""
    if network and not (genuine or label):
        label = f"{network.name}, {network.weights.partition('#')[0]} weights"
    identification = measure.kind == "two_way"
    return {
        "better": measure.better,
        "chance": 0.5 if identification else None,
        "interval": IDENTIFICATION_INTERVAL if identification else BOOTSTRAP_INTERVAL,
        "ties": TIES[settings.direction] if identification else "",
        "network": network.name if network else "",
        "weights": network.weights if network else "",
        "weights_checked": _provenance(network, settings),
        "label": label,
        "genuine": genuine,
    }


def _provenance(network: Network | None, settings: Metrics) -> str:
    if network is None:
        return ""
    return weights.provenance(network, protocol=settings.protocol, folder=settings.weights_folder)


def _pooled(scored: Scored) -> dict[str, float | int]:
    low, high = scored.interval
    return {
        "value": float(scored.values.mean()),
        "low": low,
        "high": high,
        "n": len(scored.values),
        "chance": scored.chance,
        "undefined": scored.undefined,
        "tied": scored.tied,
    }


def evaluate(args: argparse.Namespace) -> None:
    """Run the stage with parsed arguments."""
    from boldvision.metrics.decoded import decoded

    given = settings_from(args.settings)
    metrics = given.pop("set", None)
    settings = Metrics(**given)
    if not metrics:
        raise UserError("--settings: expected `set`, the metrics to compute, found none")
    made = Path(args.reconstructions)
    if args.decode is None:
        _evaluate(args, made, settings, metrics)
        return
    scratch = Path(args.out).with_suffix(".pictures")
    with decoded(made, settings_from(args.decode), scratch) as pictures:
        _evaluate(args, pictures, settings, metrics)


def _evaluate(
    args: argparse.Namespace, made: Path, settings: Metrics, metrics: Sequence[str]
) -> None:
    from boldvision.images import ImageStack
    from boldvision.metrics.inputs import Stimuli, read_reconstructions
    from boldvision.metrics.scoring import score

    windows = read_reconstructions(made)
    constant = check(windows)
    image_id = np.unique(np.concatenate([window.image_id for window in windows]))
    stimuli = Stimuli(ImageStack(args.images).read(image_id), image_id)
    scores = score(
        windows,
        stimuli,
        settings=settings,
        metrics=metrics,
        cache=Path(args.cache),
        kept=Path(args.kept),
        seed=args.seed,
        threads=args.threads,
    )
    summary = summarize(
        windows, scores, settings=settings, metrics=metrics, constant=constant, seed=args.seed
    )
    with atomic(args.out) as part:
        per_image(windows, scores).to_parquet(part, index=False, write_page_checksum=True)
    with atomic(args.summary) as part:
        part.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")


def main(argv: list[str]) -> int:
    """Stage `evaluate`."""
    parser = argparse.ArgumentParser(prog="boldvision evaluate", description=__doc__)
    add = parser.add_argument
    add("--reconstructions", required=True, help="folder with one .h5 per test window")
    add("--images", required=True, help="HDF5 of the stimuli")
    add("--settings", required=True, help="section `metrics` and `set` (names): JSON, or its path")
    add("--decode", help="where latents are kept: how to make pictures of them, JSON or its path")
    add("--cache", required=True, help="folder that keeps the features of stimuli; may be deleted")
    add("--kept", required=True, help="folder that keeps this test set's scores; may be deleted")
    add("--seed", type=int, default=0, help="of bootstrap samples and of the pairs of chance")
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--out", required=True, help="per image: Parquet")
    add("--summary", required=True, help="pooled: JSON")
    evaluate(parser.parse_args(argv))
    return 0
