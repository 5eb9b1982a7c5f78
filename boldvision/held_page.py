"""The `memory` stage: what the trainings of a configuration hold on cards, and what fits them."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from boldvision import plugins
from boldvision.config import BaseRun, split_run_name
from boldvision.config_docs import read_config
from boldvision.costs import Sizes, models, sizes_of
from boldvision.files import atomic
from boldvision.held import CONTEXT, GIB, SHARE, Held
from boldvision.plan import Plan
from boldvision.shipped import ROOT, shipped

DEFAULT, NSD = "config/config.yaml", "config/nsd.yaml"
SCOPE = "paper"
PAGE = ROOT / "docs" / "memory.md"
CARDS = (24, 40, 80)
"""GiB."""


def main(argv: list[str]) -> None:
    """Print the table of a configuration, or rewrite the document, the table of NSD."""
    parser = argparse.ArgumentParser(prog="python -m boldvision memory", description=__doc__)
    parser.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help=f"YAML files over {DEFAULT}"
    )
    parser.add_argument("--docs", action="store_true", help=f"rewrite {PAGE.name}")
    options = parser.parse_args(argv)
    if not options.docs:
        return print(table(options.configfile))
    with atomic(PAGE) as part:
        part.write_text(page())


def page() -> str:
    """The document."""
    return f"""# What a training holds on a card

Made by `make docs`, which counts shapes and needs no card; none of this was measured on one. A card
is filled to {SHARE:.0%} less {CONTEXT / GIB:g} GiB: the rest is for gaps, passing tensors, CUDA and
NCCL.

| | GB (10^9 bytes) |
|---|---|
| weights | frozen ones of linear layers and convolutions in half precision, others in float32 |
| state | gradients and AdamW's two moments, in float32, of what is trained |
| a sample | what autograd saves of it; in brackets, with activation checkpointing |
| 24, 40, 80 GiB | largest `device_batch_size` of such a card; 0: not even one fits |

The `batch_size` of a training is shared by the cards. What is more than `device_batch_size` is
accumulated: of 320 samples, each of 8 cards takes 40 at once, or twice 20. Where a loss compares
all rows of a batch, nothing is accumulated, and a card's share must fit it: of 32 rows, all on
one card, or 4 on each of 8. Of a decoder of several stages the one that holds most is counted,
without frozen networks that its targets pass through.
`activation_checkpointing` keeps what goes into each part of a network, and computes the rest again:
a third more work of these. Neither changes what is learned, but for rounding and the masks of
dropout.

{table([NSD])}
These are the runs of `config/nsd.yaml`, each with its subject, or subjects, of most voxels.
`python -m boldvision memory --configfile FILE` prints the table of another configuration.
"""


def table(files: Sequence[str]) -> str:
    """A line for runs that hold the same, each with the subjects of most voxels."""
    plan = Plan(read_config([shipped(DEFAULT), *map(shipped, files)]))
    lines = defaultdict[tuple[str, ...], list[str]](list)
    counted: dict[Any, tuple[str, ...]] = {}
    for name, sizes in _largest(plan).items():
        run = plan.config.run(name)
        networks = run.model_dump_json(exclude=set(BaseRun.model_fields) - {"decoder"})
        key = networks, len(sizes.voxels), sum(sizes.voxels.values()), sizes.n_tr
        if key not in counted:
            held = plugins.defined("decoders", run.decoder, "memory", "held")
            counted[key] = _cells(held(run, sizes))
        lines[counted[key]].append(f"`{name}`")
    header = ["run", "weights", "state", "a sample", *(f"{card} GiB" for card in CARDS)]
    rows = [[", ".join(runs), *cells] for cells, runs in lines.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rows])


def _largest(plan: Plan) -> dict[str, Sizes]:
    """By run, the sizes of its model of most voxels, of decoders that say what they hold."""
    found: dict[str, Sizes] = {}
    needed = [e for item in plan.items_of(SCOPE) for e in plan.items[SCOPE, item]]
    for model in models(plan, needed):
        name, sizes = split_run_name(model.run)[0], sizes_of(plan, model)
        folder = plugins.found("decoders")[plan.config.run(name).decoder]
        if (folder / "memory.py").exists():
            found[name] = max(found.get(name, sizes), sizes, key=lambda s: sum(s.voxels.values()))
    return found


def _cells(held: Held) -> tuple[str, ...]:
    """Of a line."""
    sample = held.per_sample, held.recomputed_per_sample
    batches = [[held.largest_batch(card * GIB, twice) for twice in (False, True)] for card in CARDS]
    return (
        f"{held.weights / 1e9:.1f}",
        f"{held.state / 1e9:.1f}",
        f"{sample[0] / 1e9:.2f} ({sample[1] / 1e9:.2f})",
        *(f"{plain} ({checkpointed})" for plain, checkpointed in batches),
    )
