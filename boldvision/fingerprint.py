"""When library code has changed: a digest of its sources.

A rule with ``params: code=fingerprint(...)`` runs again after an edit of the code it uses, and not
after a checkout that only touches files, nor after an edit of comments, docstrings or layout.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from boldvision.errors import UserError
from boldvision.shipped import ROOT

KINDS = {".py", ".csv", ".html"}


def fingerprint(*modules: str, root: Path = ROOT) -> str:
    """Digest of the source of modules and whole packages, for example ``boldvision.signal``.

    Parameters
    ----------
    *modules
        Dotted names, in any order; a package stands for every module below it.
    root
        Folder that holds the package ``boldvision``.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    UserError
        A module does not exist.
    """
    files = {file for module in modules for file in _sources(module, root)}
    lines = [
        f"{_digest(file.suffix, file.read_bytes())} {file.relative_to(root).as_posix()}"
        for file in sorted(files)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@cache
def _digest(suffix: str, content: bytes) -> str:
    if suffix == ".py":
        content = ast.dump(_Statements().visit(ast.parse(content))).encode()
    return hashlib.sha256(content).hexdigest()


class _Statements(ast.NodeTransformer):
    """Drops every string that stands alone: docstrings of modules, functions and constants."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        value = node.value
        prose = isinstance(value, ast.Constant) and isinstance(value.value, str)
        return None if prose else node


def _sources(module: str, root: Path) -> list[Path]:
    path = root.joinpath(*module.split("."))
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in KINDS)
    else:
        files = [path.with_suffix(".py")]
    if not files or not files[0].is_file():
        raise UserError(f"fingerprint: no module {module!r} below {root}; correct its name")
    return files
