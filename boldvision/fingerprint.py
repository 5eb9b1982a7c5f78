"""When code has changed: a digest of all that a stage or a script is made of.

A rule with ``params: code=CODE.stage("prepare")`` runs again after an edit of a module that its
stage imports, directly or not. It does not after a checkout that only touches files, nor after an
edit of comments, docstrings, types or layout. Imports are followed without importing anything.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from boldvision.cli import STAGES
from boldvision.errors import UserError
from boldvision.shipped import ROOT
from boldvision.statements import read_statements

LEFT_OUT = {
    "settings: what they say reaches a job in its parameters": (
        "boldvision.config",
        "boldvision.config.*",
        "*.settings",
        "*.stages",
        "*.cost",
    ),
    "words: the command line, messages, logs and records": (
        "boldvision.cli",
        "boldvision.errors",
        "boldvision.memory",
        "boldvision.report.log",
        "boldvision.training.record",
    ),
    "places: where things lie, how they get there and whether they changed": (
        "boldvision.files",
        "boldvision.fingerprint",
        "boldvision.paths",
        "boldvision.plugins",
        "boldvision.shipped",
        "boldvision.statements",
        "boldvision.transfer",
    ),
    "processes: which of them, on which cards, do the work": (
        "boldvision.children",
        "boldvision.device",
        "boldvision.gpu",
        "boldvision.launcher",
        "boldvision.training.environment",
    ),
}
"""Modules that no fingerprint counts, and whose imports it does not follow, by the reason.

All others count. A module belongs here only if no edit of it, short of a fault, changes a result.
"""

TRAINS = "boldvision.decoders.stage"
"""Runs each stage of a decoder's training; it imports them by their name."""


@cache
def is_left_out(module: str) -> bool:
    """Whether no fingerprint counts a module, see `LEFT_OUT`."""
    return any(fnmatchcase(module, pattern) for some in LEFT_OUT.values() for pattern in some)


class Code:
    """The project's own code, each file read once.

    Parameters
    ----------
    root : Path
        Folder that holds ``boldvision/`` and ``workflow/scripts/``. Packages that plug-ins have
        extended are searched where these lie, too.
    """

    def __init__(self, root: Path = ROOT):
        self.root = root
        self._digests: dict[tuple[str, ...], str] = {}
        self._read: dict[str, _Module | None] = {}
        self._places: dict[str, list[Path]] = {}

    def stage(self, name: str) -> Callable[[Any], str]:
        """Params function: the fingerprint of a stage, named as on the command line."""
        own = [STAGES[name][0]] if name in STAGES else [TRAINS, f"boldvision.decoders.{name}"]
        return lambda wildcards: self.fingerprint(*own)

    def script(self, name: str) -> Callable[[Any], str]:
        """Params function: the fingerprint of a script of ``workflow/scripts``."""
        return lambda wildcards: self.fingerprint(f"workflow.scripts.{name}")

    def fingerprint(self, *roots: str) -> str:
        """Digest of modules and of all that they import.

        Parameters
        ----------
        *roots
            Dotted names, in any order, for example ``boldvision.signal.prepare``.

        Returns
        -------
        str
            16 hexadecimal digits.

        Raises
        ------
        UserError
            A module does not exist, or is not Python.
        """
        if roots not in self._digests:
            lines = sorted(
                line for module in self._closure(roots).values() for line in module.lines
            )
            text = "\n".join(lines)
            self._digests[roots] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digests[roots]

    def modules(self, *roots: str) -> list[str]:
        """Dotted names of the modules that :meth:`fingerprint` counts."""
        return sorted(self._closure(roots))

    def _closure(self, roots: tuple[str, ...]) -> dict[str, _Module]:
        found: dict[str, _Module] = {}
        for name in roots:
            if self._module(name) is None:
                raise UserError(
                    f"fingerprint: no module {name!r} below {self.root}; correct its name"
                )
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name in found or is_left_out(name):
                continue
            waiting += filter(None, [name.rpartition(".")[0]])  # its package runs before it
            if module := self._module(name):
                found[name] = module
                waiting += (each for each in module.imports if each.startswith("boldvision"))
        return found

    def _module(self, name: str) -> _Module | None:
        if name not in self._read:
            package, _, leaf = name.rpartition(".")
            folders = self._folders(package)
            files = [
                folder / f for folder in folders for f in (f"{leaf}/__init__.py", f"{leaf}.py")
            ]
            self._read[name] = next((_Module(name, file) for file in files if file.is_file()), None)
        return self._read[name]

    def _folders(self, package: str) -> list[Path]:
        """Where the modules of a package lie."""
        if package not in self._places:
            above, _, leaf = package.rpartition(".")
            own = [folder / leaf for folder in self._folders(above)] if package else [self.root]
            extended = map(Path, getattr(sys.modules.get(package), "__path__", ()))
            self._places[package] = list(filter(Path.is_dir, (*own, *extended)))
        return self._places[package]


class _Module:
    """A module, with the files beside it that it names."""

    def __init__(self, name: str, file: Path):
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        try:
            said = read_statements(file.read_bytes(), package)
        except SyntaxError as error:
            raise UserError(f"{file}: line {error.lineno}: {error.msg}; correct it") from None
        self.imports = said.imports
        self.lines = [f"{name} {said.digest}"]
        for data in sorted(said.files):
            if not data.endswith(".py") and (path := file.parent / data).is_file():
                self.lines.append(f"{name} {data} {hashlib.sha256(path.read_bytes()).hexdigest()}")


def fingerprint(*roots: str) -> str:
    """Digest of modules of this process and of all that they import, see `Code.fingerprint`."""
    return Code().fingerprint(*roots)
