"""What is written beside a model's parameters: the record of a stage, the list of the stages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from boldvision.errors import UserError
from boldvision.files import atomic, reading, sha256

PARAMETERS, RECORD, MODEL = "model.safetensors", "training.json", "model.json"
REMEDY = "remove its folder and run again to train the model anew"

OFFICIAL = "official weights"
"""Label of weights that the authors of a decoder published."""

ADAPTED = "our adaptation"
"""How a label begins that says what a decoder's publication leaves open and we chose."""


def artefacts(folder: Path, stages: Iterable[str]) -> dict[str, str]:
    """The sha256 of every file that stages of a model made, by its name in the model's folder."""
    made = sorted(path for stage in stages for path in (folder / stage).rglob("*"))
    files = [path for path in made if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write_model_record(folder: Path, decoder: str, stages: Iterable[str]) -> None:
    """Write ``model.json``: the files that the stages made, with their sha256."""
    record = {"decoder": decoder, "artefacts": artefacts(folder, stages)}
    with atomic(folder / MODEL) as part:
        part.write_text(json.dumps(record, indent=2))


def read_model_record(folder: Path) -> dict[str, Any]:
    """``model.json`` of a model.

    Raises
    ------
    UserError
        It is missing or damaged, a file that it lists is missing, or a stage's record, which
        vouches for the parameters beside it, is another.
    """
    path = folder / MODEL
    with reading(path, "the list of a model's files", REMEDY):
        record = json.loads(path.read_text())
        if not isinstance(record, dict) or not isinstance(record.get("artefacts"), dict):
            raise ValueError("no `artefacts`")
    for name, digest in record["artefacts"].items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: expected, as {MODEL} says; found no file; {REMEDY}")
        if Path(name).name == RECORD and sha256(folder / name) != digest:
            raise UserError(
                f"{folder / name}: expected the file that {MODEL} lists, found another; {REMEDY}"
            )
    return record


def read_record(folder: Path) -> dict[str, Any]:
    """``training.json`` of a stage.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    path = folder / RECORD
    with reading(path, "the record of a trained model", REMEDY):
        record = json.loads(path.read_text())
        if not isinstance(record, dict) or "sha256" not in record:
            raise UserError(f"{path}: expected a record with `sha256`, found none; {REMEDY}")
        return record


def stage_records(folder: Path) -> dict[str, dict[str, Any]]:
    """``training.json`` of every stage of a model that has one, by stage.

    Raises
    ------
    UserError
        ``model.json`` or one of them is missing or damaged.
    """
    names = (Path(name) for name in read_model_record(folder)["artefacts"])
    stages = [name.parent.as_posix() for name in names if name.name == RECORD]
    return {stage: read_record(folder / stage) for stage in stages}
