"""Decoders and targets, found by their folders: ours, and those of `plugins`.

A plug-in's folder holds ``decoders/NAME`` and ``targets/NAME``, laid out as ours. It becomes part
of the packages ``boldvision.decoders`` and ``boldvision.targets``, here and in every job.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import boldvision.decoders
import boldvision.targets
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.shipped import shipped

if TYPE_CHECKING:
    from boldvision.config.runs import BaseRun
    from boldvision.targets.settings import BaseTarget

VARIABLE = "BOLDVISION_PLUGINS"
"""Environment variable with the folders of plug-ins; jobs inherit it."""

PACKAGES = {"decoders": boldvision.decoders, "targets": boldvision.targets}
SETTINGS = "settings.py"
FILES = {
    "decoders": (SETTINGS, "stages.py", "decoder.py", "cost.py", "rules.smk"),
    "targets": (SETTINGS, "network.py"),
}
"""What the folder of a decoder or a target must have."""
NAMED = {"decoders": "runs.yaml", "targets": "targets.yaml"}
"""File with the named settings of a decoder or a target."""


def use(folders: Sequence[str]) -> None:
    """Make the plug-ins of these folders, and no other, known to this process and its jobs.

    Raises
    ------
    UserError
        A folder holds no plug-in, a plug-in lacks a file, or two have the same name.
    """
    places = [Path(shipped(folder)).expanduser().absolute() for folder in folders]
    for place in places:
        _check(place)
    os.environ[VARIABLE] = os.pathsep.join(map(str, places))
    _extend(places)
    for kind in PACKAGES:
        found(kind)


def _check(place: Path) -> None:
    from boldvision.config.section import NAME  # which imports this module

    folders = [f for kind in FILES for f in place.glob(f"{kind}/[!._]*/")]
    if not folders:
        raise UserError(
            f"plugins: {place}: expected a folder decoders/NAME or targets/NAME in it, found none; "
            "correct the path"
        )
    for folder in folders:
        if not re.fullmatch(NAME, folder.name):
            raise UserError(f"plugins: {folder}: expected a name of a-z, 0-9 and _; rename it")
        for name in FILES[folder.parent.name]:
            if not (folder / name).is_file():
                raise UserError(
                    f"plugins: {folder}: expected {', '.join(FILES[folder.parent.name])}, found no "
                    f"{name}; add it, as CONTRIBUTING.md says"
                )


def _extend(places: Sequence[Path]) -> None:
    for kind, package in PACKAGES.items():
        own = str(Path(__file__).with_name(kind))
        package.__path__ = [own, *(str(place / kind) for place in places)]
    importlib.invalidate_caches()


_extend([Path(place) for place in os.environ.get(VARIABLE, "").split(os.pathsep) if place])


def found(kind: str) -> dict[str, Path]:
    """Folder of every decoder (``decoders``) or target (``targets``), by name.

    Raises
    ------
    UserError
        Two have the same name.
    """
    folders: dict[str, Path] = {}
    for place in PACKAGES[kind].__path__:
        for settings in sorted(Path(place).glob(f"*/{SETTINGS}")):
            name = settings.parent.name
            if name in folders:
                raise UserError(
                    f"plugins: {settings.parent} and {folders[name]} have the same name; rename one"
                )
            folders[name] = settings.parent
    return folders


def module(kind: str, name: str, part: str) -> Any:
    """Module ``boldvision.KIND.NAME.PART``.

    Raises
    ------
    ValueError
        There is no decoder or target of that name.
    """
    if name not in (known := found(kind)):
        raise ValueError(f"{name!r} is none of the {kind}, which are {', '.join(known)}")
    return importlib.import_module(f"boldvision.{kind}.{name}.{part}")


def stages(decoder: str) -> dict[str, str]:
    """What the stages of a decoder's training do, by name, in their order.

    Raises
    ------
    ValueError
        There is no decoder of that name.
    """
    return module("decoders", decoder, "stages").STAGES


def run_settings(values: dict[str, Any]) -> BaseRun:
    """Settings of a run, validated by the class ``Run`` of its decoder.

    Raises
    ------
    ValueError
        The decoder is unknown; pydantic's error if a setting is wrong.
    """
    return _validated("decoders", "decoder", "Run", values)


def target_settings(values: dict[str, Any]) -> BaseTarget:
    """Settings of a target, validated by the class ``Target`` of its kind.

    Raises
    ------
    ValueError
        The kind is unknown; pydantic's error if a setting is wrong.
    """
    return _validated("targets", "kind", "Target", values)


def _validated(kind: str, key: str, name: str, values: dict[str, Any]) -> Any:
    if not isinstance(values.get(key), str):
        raise ValueError(f"expected `{key}`, one of the {kind}: {', '.join(found(kind))}")
    return getattr(module(kind, values[key], "settings"), name).model_validate(values)


@dataclass(frozen=True)
class Named:
    """Named settings: those that decoders or targets bring, and over them the configuration's.

    Attributes
    ----------
    settings : dict
        By name.
    unstated : dict of str to Path
        Of real data, the file of each name whose settings are stated for the miniature alone.
    """

    settings: dict[str, dict[str, Any]]
    unstated: dict[str, Path]


def named(kind: str, own: dict[str, dict[str, Any]], simulated: bool) -> Named:
    """Runs of the decoders or entries of the targets, from ``runs.yaml`` or ``targets.yaml``.

    Key `miniature` of such a file has them for simulated data; `real` has what differs for real
    data, down to single settings, or an empty mapping where nothing does. (`test` is the tests'.)

    Parameters
    ----------
    kind
        ``decoders`` or ``targets``.
    own
        What the configuration says; it goes over all others.
    simulated
        Whether the data are.

    Raises
    ------
    UserError
        A file is not as it should be, or two have an entry of the same name.
    """
    settings: dict[str, Any] = {}
    unstated: dict[str, Path] = {}
    for folder in found(kind).values():
        file = folder / NAMED[kind]
        if not file.exists():
            continue
        miniature, real = _read_named(file)
        if twice := set(miniature) & set(settings):
            raise UserError(f"{file}: {min(twice)!r} is named elsewhere too; rename one")
        settings |= miniature if simulated else merge(miniature, real)
        unstated |= {} if simulated else {name: file for name in miniature if name not in real}
    return Named(
        merge(settings, own), {name: file for name, file in unstated.items() if name not in own}
    )


def _read_named(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with reading(file, "named settings under `miniature` and `real`", "correct it"):
        content = yaml.safe_load(file.read_text())
        if other := set(content) - {"miniature", "real", "test"}:
            raise ValueError(f"the key {min(other)}")
        miniature, real = (content.get(key) or {} for key in ("miniature", "real"))
        for name, settings in [*miniature.items(), *real.items()]:
            if not isinstance(settings, dict):
                raise ValueError(f"{name}: {settings}")
    return miniature, real


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, down to single keys."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
