"""One thing checked, and the report of all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from boldvision.errors import UserError
from boldvision.report.log import announce


@dataclass(frozen=True)
class Finding:
    """One thing checked: what was found, what was expected, whether they agree."""

    check: str
    where: str
    found: str
    expected: str
    passed: bool


def report(findings: list[Finding]) -> str:
    """The findings as a table of plain text."""
    lines = [("", "check", "where", "found", "expected")]
    lines += [
        ("ok" if f.passed else "FAILED", f.check, f.where, f.found, f.expected) for f in findings
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def conclude(findings: list[Finding]) -> dict[str, Any]:
    """Print the findings; give them as a record if all passed.

    Raises
    ------
    UserError
        One did not pass.
    """
    announce(report(findings))
    failed = [f for f in findings if not f.passed]
    if failed:
        raise UserError(
            f"known answer: {len(failed)} of {len(findings)} checks failed:\n{report(failed)}"
        )
    return {"passed": True, "findings": [asdict(f) for f in findings]}
