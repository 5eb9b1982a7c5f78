"""What a module says, without comments, prose, messages of errors and types.

It is the same under every version of Python.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

SILENT = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params"}
"""Fields of a syntax tree that say nothing of what is computed."""

TYPES_ALONE = "TYPE_CHECKING"

FIELD = 2
"""In place of 0 or 1 of an annotated name: it is a field of its class."""

FILE = re.compile(r"([\w-]+/)*[\w-]+(\.[\w-]+)+")


class Statements(NamedTuple):
    """What a module says."""

    digest: str
    imports: frozenset[str]
    """Dotted names it imports, also within functions; the last part may be no module."""
    files: frozenset[str]
    """Those of its strings that may be paths of files beside it, or in folders there."""


@cache
def read_statements(source: bytes, package: str) -> Statements:
    """Read the source of a module.

    Parameters
    ----------
    source
        Text of the module.
    package
        Dotted name of the package that relative imports start from.

    Raises
    ------
    SyntaxError
        It is not Python.
    """
    tree = ast.parse(source)
    typed = {TYPES_ALONE, *_names_in_annotations(tree)}
    tree = _Executed().visit(tree)
    nodes = list(_walk(tree))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    strings = {value for value in constants if isinstance(value, str)}
    tree = _WithoutImports(typed - used - strings).visit(tree)
    parts: list[str] = []
    _write(tree, parts)
    return Statements(
        digest=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
        imports=frozenset(_imports(tree, package)),
        files=frozenset(filter(FILE.fullmatch, strings)),
    )


def _names_in_annotations(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if (annotation := getattr(node, field, None)) is not None:
                yield from re.findall(r"\w+", ast.unparse(annotation))


class _Executed(ast.NodeTransformer):
    """Drops what is not executed, or only said: prose, `pass`, types, what an error is told."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        prose = isinstance(value, ast.Constant) and isinstance(value.value, str)
        return None if prose else self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):  # `raise UserError(message)`: a result has no message
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test).split(".")[-1] == TYPES_ALONE else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        self.generic_visit(node)  # Python 3.12 ends some formats with an empty string
        node.values = [each for each in node.values if getattr(each, "value", None) != ""]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:  # of a dataclass or a model: a field, also without a value
            if isinstance(statement, ast.AnnAssign):
                statement.simple = FIELD
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if node.simple == FIELD:
            return node
        return node.value and ast.Assign(targets=[node.target], value=node.value)


class _WithoutImports(ast.NodeTransformer):
    """Drops the imports of some names."""

    def __init__(self, names: set[str]):
        self.names = names

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.AST | None:
        node.names = [
            alias
            for alias in node.names
            if (alias.asname or alias.name.split(".")[0]) not in self.names
        ]
        return node if node.names else None

    visit_ImportFrom = visit_Import


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*(above if node.level else ()), *filter(None, [node.module])])
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names)


def _fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Fields that say something; versions of Python differ in what they leave empty."""
    for field, value in ast.iter_fields(node):
        if field not in SILENT and value is not None and value != []:
            yield field, value


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for _, value in _fields(node):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield from _walk(each)


def _write(value: Any, parts: list[str]) -> None:
    """Append a syntax tree as words."""
    if isinstance(value, ast.Constant):
        parts.append(ascii(value.value))
    elif isinstance(value, ast.AST):
        parts += ["(", type(value).__name__]
        for field, content in _fields(value):
            parts.append(field)
            _write(content, parts)
        parts.append(")")
    elif isinstance(value, list):
        parts.append("[")
        for item in value:
            _write(item, parts)
        parts.append("]")
    else:
        parts.append(ascii(value))
