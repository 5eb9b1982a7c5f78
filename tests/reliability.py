"""Writes docs/reliability.md: what can go wrong, what happens then, and the test that shows it.

A row is a decorator of a test, ``@pytest.mark.survives(KIND, SITUATION, OUTCOME)``, whose three
arguments are string literals.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"

KINDS = {
    "results": "Wrong results",
    "files": "Files and disks",
    "places": "Places and accounts",
    "networks": "Networks of the metrics",
    "names": "Names, keys and shells",
    "patience": "Servers and lines",
    "jobs": "Jobs and GPUs",
}

HEAD = """# Reliability

What a machine, a disk, a network or a mistaken setting can do, and what happens then. Written by
`make docs` from the tests that show it. `make test` runs them all, but for the row of DeepSpeed,
which is skipped where that optional package is not installed (`envs/optional.in`).
"""


def rows(folder: Path = ROOT / "tests") -> list[tuple[str, str, str, str]]:
    """Kind, situation, outcome and test of every row, in the order of files and lines."""
    found = []
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                test = f"{path.relative_to(ROOT).as_posix()}::{node.name}"
                marks = filter(None, map(_arguments, node.decorator_list))
                found += [(*arguments, test) for arguments in marks]
    return found


def _arguments(decorator: ast.expr) -> list[str] | None:
    if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith(".survives"):
        return None
    kind, situation, outcome = map(ast.literal_eval, decorator.args)
    return [kind, situation, outcome]


def page() -> str:
    """The page as it should be."""
    found, parts = rows(), [HEAD]
    if unknown := {row[0] for row in found} - set(KINDS):
        raise SystemExit(f"survives: {', '.join(sorted(unknown))}: expected {', '.join(KINDS)}")
    for kind, title in KINDS.items():
        parts.append(f"## {title}\n\n| situation | what happens | shown by |\n|---|---|---|")
        parts += [
            f"| {situation} | {outcome} | `{test.removeprefix('tests/')}` |"
            for of, situation, outcome, test in found
            if of == kind
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.relative_to(ROOT)}: {len(rows())} rows", file=sys.stderr)
