"""Decoders, targets and networks, found by their folders: ours, and those of `plugins`.

A plug-in's folder holds ``decoders/NAME``, ``targets/NAME`` and ``networks/NAME``, laid out as
ours. It becomes part of the packages ``boldvision.decoders`` and so on, here and in every job.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import boldvision.decoders
import boldvision.networks
import boldvision.targets
from boldvision.errors import UserError
from boldvision.files import in_one_line, reading
from boldvision.shipped import shipped

if TYPE_CHECKING:
    from boldvision.config.runs import BaseRun
    from boldvision.networks.settings import BaseNetwork
    from boldvision.targets.settings import BaseTarget

VARIABLE = "BOLDVISION_PLUGINS"
"""Environment variable with the folders of plug-ins; jobs inherit it."""

PACKAGES = {
    "decoders": boldvision.decoders,
    "targets": boldvision.targets,
    "networks": boldvision.networks,
}
SETTINGS = "settings.py"
SHOWN = "[!._]*"
"""Folders that count: a name with . or _ in front hides one."""
FILES = {
    "decoders": (SETTINGS, "stages.py", "decoder.py", "cost.py", "rules.smk"),
    "targets": (SETTINGS, "network.py"),
    "networks": (SETTINGS, "network.py"),
}
"""What the folder of each must have."""
NAMED = {"decoders": "runs.yaml", "targets": "targets.yaml", "networks": "networks.yaml"}
"""File with the named settings of each."""
STARTS = {"base", "decoder", "kind"}
"""Named settings with one of these are whole; all others only change some of that name."""


def use(folders: Sequence[str]) -> None:
    """Make the plug-ins of these folders, and no other, known to this process and its jobs.

    Raises
    ------
    UserError
        A folder holds no plug-in, a plug-in lacks a file, two have the same name, or the stages of
        a decoder are not as they should be.
    """
    places = [Path(shipped(folder)).expanduser().absolute() for folder in folders]
    for place in places:
        _check(place)
    os.environ[VARIABLE] = os.pathsep.join(map(str, places))
    _extend(places)
    for kind in PACKAGES:
        found(kind)
    for decoder in found("decoders"):
        _check_stages(decoder)


def _check(place: Path) -> None:
    from boldvision.config.section import NAME  # which imports this module

    if os.pathsep in str(place):
        raise UserError(f"plugins: {place}: expected a path without {os.pathsep!r}; move it")
    folders = [f for kind in FILES for f in place.glob(f"{kind}/{SHOWN}/")]
    if not folders:
        raise UserError(
            f"plugins: {place}: expected a folder decoders/NAME, targets/NAME or networks/NAME in "
            "it, found none; correct the path"
        )
    for folder in folders:
        if not re.fullmatch(NAME, folder.name):
            raise UserError(f"plugins: {folder}: expected a name of a-z, 0-9 and _; rename it")
        kind = folder.parent.name
        if Path(__file__).with_name(kind).joinpath(f"{folder.name}.py").exists():
            raise UserError(
                f"plugins: {folder}: boldvision.{kind} has a module of that name; rename it"
            )
        for name in FILES[kind]:
            if not (folder / name).is_file():
                raise UserError(
                    f"plugins: {folder}: expected {', '.join(FILES[kind])}, found no {name}; add "
                    "it, as CONTRIBUTING.md says"
                )


def _check_stages(decoder: str) -> None:
    """Each is a module of its own, and none shares a setting with other stages by its name."""
    from boldvision.config.runs import BaseRun
    from boldvision.config.section import NAME

    known, folder = stages(decoder), found("decoders")[decoder]
    own = {Path(file).stem for file in FILES["decoders"]}
    for number, name in enumerate(known):
        if not re.fullmatch(NAME, name) or name in own | set(BaseRun.model_fields):
            raise UserError(
                f"{folder}/stages.py: {name!r}: expected a name of a-z, 0-9 and _ that is neither "
                "a setting of every run nor another module of the decoder; rename it"
            )
        if not (folder / f"{name}.py").is_file():
            raise UserError(f"{folder}: expected {name}.py, as stages.py says, found none; add it")
        if unknown := set(earlier(decoder, name)) - set(list(known)[:number]):
            raise UserError(
                f"{folder}/stages.py: AFTER: {min(unknown)!r} is no stage before {name}; correct it"
            )


def _extend(places: Sequence[Path]) -> None:
    for kind, package in PACKAGES.items():
        own = str(Path(__file__).with_name(kind))
        paths = [own, *(str(place / kind) for place in places)]
        if paths != list(package.__path__):
            _forget(package.__name__, own)
        package.__path__ = paths
    importlib.invalidate_caches()


def _forget(package: str, own: str) -> None:
    """Drop the modules of earlier plug-ins: others may have their names."""
    for name, content in list(sys.modules.items()):
        file = getattr(content, "__file__", None)
        if file and name.startswith(f"{package}.") and not Path(file).is_relative_to(own):
            del sys.modules[name]


_extend([Path(place) for place in os.environ.get(VARIABLE, "").split(os.pathsep) if place])


def found(kind: str) -> dict[str, Path]:
    """Folder of every decoder (``decoders``), target or network, by name.

    Raises
    ------
    UserError
        Two have the same name.
    """
    folders: dict[str, Path] = {}
    for place in PACKAGES[kind].__path__:
        for settings in sorted(Path(place).glob(f"{SHOWN}/{SETTINGS}")):
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
    UserError
        There is none of that name, or the module is not as it should be.
    """
    if name not in (known := found(kind)):
        raise UserError(f"{name!r} is none of the {kind}, which are {', '.join(known)}")
    try:
        return importlib.import_module(f"boldvision.{kind}.{name}.{part}")
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        at = error if isinstance(error, SyntaxError) else last
        raise UserError(
            f"{known[name] / part}.py: expected a module, found {type(error).__name__} in "
            f"{at.filename}, line {at.lineno}: {in_one_line(error)}; correct it"
        ) from error


def defined(kind: str, name: str, part: str, what: str) -> Any:
    """What :func:`module` must define.

    Raises
    ------
    UserError
        It does not, or there is no such module.
    """
    content = vars(module(kind, name, part))
    if what not in content:
        raise UserError(f"{found(kind)[name] / part}.py: expected {what}, found none; add it")
    return content[what]


def stages(decoder: str) -> dict[str, str]:
    """What the stages of a decoder's training do, by name, in their order.

    Raises
    ------
    UserError
        There is no decoder of that name, or it does not say.
    """
    return defined("decoders", decoder, "stages", "STAGES")


def earlier(decoder: str, stage: str) -> list[str]:
    """Stages whose files a stage reads: those that ``AFTER`` says, or else all before it."""
    before = list(stages(decoder))
    said = getattr(module("decoders", decoder, "stages"), "AFTER", {})
    return list(said.get(stage, before[: before.index(stage)]))


def run_settings(values: dict[str, Any]) -> BaseRun:
    """Settings of a run, validated by the class ``Run`` of its decoder.

    Raises
    ------
    UserError
        The decoder is unknown.
    ValidationError
        A setting is wrong.
    """
    return _validated("decoders", "decoder", "Run", values)


def target_settings(values: dict[str, Any]) -> BaseTarget:
    """Settings of a target, validated by the class ``Target`` of its kind.

    Raises
    ------
    UserError
        The kind is unknown.
    ValidationError
        A setting is wrong.
    """
    return _validated("targets", "kind", "Target", values)


def network_settings(values: dict[str, Any]) -> BaseNetwork:
    """Settings of a network, validated by the class ``Network`` of its kind.

    Raises
    ------
    UserError
        The kind is unknown.
    ValidationError
        A setting is wrong.
    """
    return _validated("networks", "kind", "Network", values)


def _validated(kind: str, key: str, name: str, values: dict[str, Any]) -> Any:
    if not isinstance(values, dict) or not isinstance(values.get(key), str):
        raise UserError(f"expected `{key}`, one of the {kind}: {', '.join(found(kind))}")
    settings = defined(kind, values[key], "settings", name)
    if missing := settings.__abstractmethods__:
        raise UserError(
            f"{found(kind)[values[key]] / SETTINGS}: {name}: expected a method {min(missing)}, "
            "found none; add it"
        )
    return settings.model_validate(values)


@dataclass(frozen=True)
class Named:
    """Named settings: those that come with folders, and over them the configuration's.

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
    """Runs of the decoders, entries of the targets or networks, from ``runs.yaml`` and so on.

    Key `miniature` of such a file has them for simulated data; `real` has what differs for real
    data, down to single settings, or an empty mapping where nothing does. (`test` is the tests'.)

    Parameters
    ----------
    kind
        ``decoders``, ``targets`` or ``networks``.
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
    whole = {name for name in unstated if STARTS & set(own.get(name, {}))}
    settings |= {name: {} for name in whole}  # nothing of the miniature's below them
    return Named(
        merge(settings, own), {name: file for name, file in unstated.items() if name not in whole}
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
