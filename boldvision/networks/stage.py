"""Stage `pretrain_network`: train the small network of a kind whose weights ship."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from boldvision import plugins
from boldvision.files import replace_folder


def main(argv: list[str]) -> None:
    """Stage `pretrain_network`: ``boldvision.networks.<kind>.pretrain`` writes folder ``--out``."""
    parser = argparse.ArgumentParser(prog="boldvision pretrain_network", description=__doc__)
    parser.add_argument("--kind", required=True, help="a package of boldvision.networks")
    parser.add_argument("--scenes", type=int, help="how many it learns from")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = vars(parser.parse_args(argv))
    pretrain = plugins.defined("networks", arguments.pop("kind"), "pretrain", "pretrain")
    out = arguments.pop("out")
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a killed job
    part.mkdir(parents=True)
    pretrain(part, **{name: value for name, value in arguments.items() if value is not None})
    replace_folder(part, out)
