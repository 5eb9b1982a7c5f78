"""The `plan` stage: what the paper costs, printed before anything runs."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from boldvision.config import split_run_name
from boldvision.costs import Cost, costs, disk_by_stage, in_flight, models
from boldvision.downloads import raw_bytes
from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.plan import Plan
from boldvision.shipped import ROOT, shipped
from boldvision.speeds import Hours

CARDS = {"A100": 312.0, "H100": 989.0}
"""Cards that the document is for: operations per second, 10^12, bf16, dense (NVIDIA's sheets)."""

DEFAULT, NSD = "config/config.yaml", "config/nsd.yaml"
TARGETS = ROOT / "docs" / "targets.md"
HEADER = [
    *("item", "models", "new", "trained", "free"),
    *("targets h", "training h", "testing h", "speed", "disk"),
]
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def main(argv: list[str]) -> None:
    """Print what tables and figures cost, or rewrite what documents it."""
    parser = argparse.ArgumentParser(prog="python -m boldvision plan", description=__doc__)
    parser.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help=f"YAML files over {DEFAULT}"
    )
    parser.add_argument("--scope", default="paper", help="a name of `scopes`")
    parser.add_argument("--item", help="one table or figure, alone, and its models")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--docs", action="store_true", help=f"rewrite {TARGETS.name}")
    options = parser.parse_args(argv)
    if options.docs:
        with atomic(TARGETS) as part:
            part.write_text(targets())
        return
    plan = _read(shipped(DEFAULT), *options.configfile)
    if options.scope not in plan.config.scopes:
        raise UserError(
            f"--scope: {options.scope!r} is none of {', '.join(plan.config.scopes)}; see `scopes`"
        )
    if options.item:
        print(of_item(plan, options.scope, options.item, options.markdown))
    else:
        left = costs(plan, options.scope, plan.items_of(options.scope))
        print(of_scope(plan, options.scope, left, options.markdown))


def of_scope(plan: Plan, scope: str, left: list[Cost], markdown: bool = False) -> str:
    """What is `left` to do for the items of a scope, and what the numbers rest on."""
    costs = plan.config.costs
    return f"""{_table(HEADER, map(_row, left), markdown)}

Scope {scope} of {plan.config.dataset}.
- new: models that no item above needs; trained: models that are there; free: models that take no
  training.
- h: hours of one {costs.gpu}, for what is new and not there; targets: what frozen networks make of
  images; testing: reconstruction and scores.
  Operations are counted on the networks; "speed" says how many a second, if several, of each part:
  - own models: as those of the run that are there were trained;
  - benchmark: as `benchmark_gpu` measured on this machine, with the same settings;
  - assumed: {_assumption(plan)}.
- disk: for what is new and not there. In all: {_listed(disk_by_stage(plan, scope))}.
- {_raw_data(plan, scope)}
- Not counted: preprocessing, fMRIPrep and its derivatives, files of networks."""


def _raw_data(plan: Plan, scope: str) -> str:
    """What raw data take, and what another preprocessing fetches again."""
    in_all = _listed(raw_bytes(plan, scope))
    if plan.config.keep_raw:
        return f"""Raw files are kept (`keep_raw`): {in_all}. Another preprocessing
  fetches nothing again."""
    return f"""Raw files are removed once prepared. A job in flight (`--resources downloads=N`)
  holds at most: {_listed(in_flight(plan, scope))}.
  All at once, after `snakemake downloads`: {in_all}.
  Another preprocessing fetches its share of these again, unless `keep_raw: true` kept them."""


def _listed(sizes: Mapping[str, float]) -> str:
    return ", ".join(f"{what} {_bytes(size)}" for what, size in sizes.items())


def of_item(plan: Plan, scope: str, item: str, markdown: bool = False) -> str:
    """What is left to do for one item alone, and its models.

    Raises
    ------
    UserError
        The runs table has no such item.
    """
    if (scope, item) not in plan.items:
        raise UserError(f"no line of the runs table is for {item!r}")
    alone, _total = costs(plan, scope, [item])
    paths = [model.path for model in models(plan, plan.items[scope, item])]
    trained = [Path(plan.paths.models, path, "model.json").exists() for path in paths]
    rows = [[path, "yes" if done else "no"] for path, done in zip(paths, trained, strict=True)]
    return "\n\n".join([
        _table(HEADER, [_row(alone)], markdown),
        _table(["model", "trained"], rows, markdown),
    ])  # fmt: skip


def write(plan: Plan, scope: str) -> str:
    """Write ``plan.tsv`` and ``plan.md`` of a scope; return the text to print."""
    folder = Path(plan.paths.results, scope)
    left = costs(plan, scope, plan.items_of(scope))
    with atomic(folder / "plan.tsv") as part, part.open("w", newline="") as file:
        rows = list(map(_values, left))
        lines = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        lines.writeheader()
        lines.writerows(rows)
    with atomic(folder / "plan.md") as part:
        part.write_text(of_scope(plan, scope, left, markdown=True) + "\n")
    return of_scope(plan, scope, left)


def targets() -> str:
    """``docs/targets.md``: every target alone, in both configurations, with nothing made yet."""
    small, real = (_read(*(str(ROOT / f) for f in files)) for files in ((DEFAULT,), (DEFAULT, NSD)))
    cards = [_with_card(real, *card) for card in CARDS.items()]
    scopes = real.config.scope, small.config.scope
    rows = [
        _target(item, _trained(real, item),
                [_total(plan, scopes[0], [item]) for plan in cards],
                _total(small, scopes[1], [item]))
        for item in real.item_names
    ]  # fmt: skip
    for name, (there, here) in {"all": scopes, "paper": ("paper", "paper")}.items():
        totals = [_total(plan, there, plan.items_of(there)) for plan in cards]
        trained = f"{totals[0].models} models, {totals[0].free} free"
        rows.append(_target(name, trained, totals, _total(small, here, small.items_of(here))))
    header = [
        "target", "models, real NSD", *(f"{card} hours" for card in CARDS), "disk, real NSD",
        "models, miniature", "CPU minutes, miniature",
    ]  # fmt: skip
    return PAGE.format(
        table=_table(header, rows, markdown=True),
        small=_assumption(small),
        real="; ".join(map(_assumption, cards)),
    )


PAGE = """# Targets and what they cost

Written by `make docs`; `snakemake --cores 1 plan_paper` tells what is left to do on your machine.

```sh
snakemake --cores all figure_5                                    # miniature, scope demo
snakemake --cores all figure_5 --configfile config/nsd.yaml       # real NSD, scope paper
python -m boldvision plan --item figure_5 --configfile config/nsd.yaml
```

Each target is counted alone, with nothing made yet. Items share models: once `table_1` is there,
`table_6`, `table_7` and one row of `table_2`, `table_3`, `table_5` and `table_8` train nothing.

{table}

- **Hours and minutes** are of one card or core. Operations are counted on the networks; how many a
  second is assumed, from what our training step reached on one H200 to what the released recipe
  reached. After `snakemake benchmark_gpu` (minutes) `plan_paper` uses the speed of your card; after
  a run's first model, that model's.
- **Real NSD**: {real}.
- **Miniature**: training, reconstruction and scores; simulating, preparing and drawing come on top.
  {small}.
- **Free** models take no hours of training.
- **Disk** is images, clean series, targets, models and reconstructions. Raw files are removed once
  prepared. Not counted: fMRIPrep's derivatives, the networks of generator and metrics.
- `differences`, `scorecard` and `known_answer` need the scores of the tables and figures above, and
  train nothing of their own.
"""


def _read(*files: str) -> Plan:
    from boldvision.config_docs import read_config

    return Plan(read_config(list(files)))


def _with_card(plan: Plan, gpu: str, peak: float) -> Plan:
    """The same plan, for another card."""
    update = {"gpu": gpu, "peak_teraflop_per_s": peak}
    costs = plan.config.costs.model_copy(update=update)
    return Plan(plan.config.model_copy(update={"costs": costs}))


def _assumption(plan: Plan) -> str:
    costs = plan.config.costs
    slow, fast = (f"{100 * share:.0f} %" for share in costs.share)
    return (
        f"{slow} to {fast} of {costs.peak_teraflop_per_s:g} teraflop/s ({costs.gpu}), and "
        f"{costs.score_values_per_s:g} scores per second; {costs.source}"
    )


def _target(name: str, trained: str, real: Sequence[Cost], small: Cost) -> list[str]:
    hours = [_range(cost.hours) for cost in real]
    minutes = _range(small.hours, 60)
    return [f"`{name}`", trained, *hours, _bytes(real[0].bytes), str(small.models), minutes]


def _total(plan: Plan, scope: str, items: list[str]) -> Cost:
    return costs(plan, scope, items, measured=False)[-1]


def _trained(plan: Plan, item: str) -> str:
    """How many models of each run, with few sessions or all: ``4 joint, 4 frozen``."""
    needed = models(plan, plan.items[plan.config.scope, item])
    found = Counter(split_run_name(model.run)[0] for model in needed)
    return ", ".join(f"{count} {run}" for run, count in found.items())


def _row(cost: Cost) -> list[str]:
    counts = (cost.models, cost.new, cost.trained, cost.free)
    hours = map(_range, (cost.target_hours, cost.training_hours, cost.testing_hours))
    return [cost.item, *map(str, counts), *hours, _speed(cost), _bytes(cost.bytes)]


def _values(cost: Cost) -> dict[str, str | float]:
    """A line of ``plan.tsv``."""
    return {
        **{name: getattr(cost, name) for name in ("item", "models", "new", "trained", "free")},
        "target_hours_least": cost.target_hours.least,
        "target_hours_most": cost.target_hours.most,
        "training_hours_least": cost.training_hours.least,
        "training_hours_most": cost.training_hours.most,
        "testing_hours_least": cost.testing_hours.least,
        "testing_hours_most": cost.testing_hours.most,
        "speed": _speed(cost),
        "bytes": cost.bytes,
    }


def _speed(cost: Cost) -> str:
    return ", ".join(sorted(cost.hours.bases)) or "-"


def _range(hours: Hours, per_hour: int = 1) -> str:
    """Two digits each: ``950–3,300``."""
    shown = [
        f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"
        for value in (per_hour * hours.least, per_hour * hours.most)
    ]
    return "–".join(dict.fromkeys(shown))


def _bytes(size: float) -> str:
    if not size:
        return "0"
    unit = max((u for u in UNITS if size >= UNITS[u]), key=UNITS.__getitem__, default="kB")
    return f"{size / UNITS[unit]:.3g} {unit}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], markdown: bool) -> str:
    """Text in aligned columns, or Markdown; numbers to the right."""
    lines = [header, *rows]
    if markdown:
        rule = ["---", *["--:"] * (len(header) - 1)]
        return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
