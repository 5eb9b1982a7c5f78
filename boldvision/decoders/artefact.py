"""What a stage of training makes: ``model.safetensors``, and ``training.json``, its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from boldvision.decoders.record import PARAMETERS, RECORD, REMEDY, read_record
from boldvision.errors import UserError
from boldvision.files import atomic, reading, sha256
from boldvision.parameters import non_finite


def write_artefact(
    folder: Path, parameters: Mapping[str, torch.Tensor], record: Mapping[str, Any]
) -> None:
    """Write the parameters and, last, the record, completed by their sha256.

    Raises
    ------
    UserError
        A parameter is not finite; nothing was written.
    """
    if name := non_finite(parameters):
        raise UserError(
            f"{folder}: expected a model of finite parameters, found NaN or infinity in {name}; it "
            "was not written. Look at the training images and BOLD, and at `training` of the run."
        )
    with atomic(folder / PARAMETERS) as part:
        save_file({n: value.cpu().contiguous() for n, value in parameters.items()}, part)
    record = {**record, "sha256": sha256(folder / PARAMETERS)}
    with atomic(folder / RECORD) as part:
        part.write_text(json.dumps(record, indent=2))


def read_artefact(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Parameters and record of a model, if they are those that were written.

    Raises
    ------
    UserError
        A file is missing, damaged, or of another model.
    """
    record = read_record(folder)
    path = folder / PARAMETERS
    with reading(path, "the parameters of a trained model", REMEDY):
        if (found := sha256(path)) != record["sha256"]:
            raise UserError(
                f"{path}: expected sha256 {record['sha256']}, as {RECORD} beside it says, found "
                f"{found}: the file was changed or damaged; {REMEDY}"
            )
        return load_file(path), record
