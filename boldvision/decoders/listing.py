"""Stage `model`: list what the stages of a model made, where none comes after all others."""

from __future__ import annotations

import argparse
from pathlib import Path

from boldvision import plugins
from boldvision.decoders.record import write_model_record
from boldvision.errors import UserError


def main(argv: list[str]) -> None:
    """Write ``model.json`` of a model whose stages may end in any order.

    Raises
    ------
    UserError
        A stage has not ended.
    """
    parser = argparse.ArgumentParser(prog="boldvision model", description=__doc__)
    parser.add_argument("--decoder", required=True, help="a package of boldvision.decoders")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    arguments = parser.parse_args(argv)
    stages = plugins.stages(arguments.decoder)
    for stage in stages:
        if not (arguments.model / stage).is_dir():
            raise UserError(
                f"{arguments.model}: expected a folder of each stage, {', '.join(stages)}, found "
                f"no {stage}; run that stage first"
            )
    write_model_record(arguments.model, arguments.decoder, stages)
