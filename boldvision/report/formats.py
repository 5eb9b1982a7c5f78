"""Tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from boldvision.files import atomic

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "√": r"$\surd$",
    "–": "--",
    "×": r"$\times$",
}
"""Characters that LaTeX reads as something else, or not at all."""

MARKDOWN = re.compile(r"[\\|]|<(?=[A-Za-z/!?])")
"""What ends a cell of Markdown, or begins HTML."""

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


class Header(NamedTuple):
    """Head of a column, and what is said below it in smaller print."""

    text: str
    below: str = ""


class Cell(NamedTuple):
    """A cell as it is shown."""

    text: str
    bold: bool = False


class Section(NamedTuple):
    """Lines of a table under one heading."""

    heading: str
    lines: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Sheet:
    """A table as it is read.

    Attributes
    ----------
    name : str
        For example ``Table 1``; LaTeX, which numbers tables itself, has it in the label only.
    title : str
        First sentence of the caption.
    headers : sequence of Header
        The first is of the column of row names.
    sections : sequence of Section
    notes : sequence of str
        What to know to read it.
    sections_are : str
        What a heading is, for example ``Subject``; empty where there is only one section.
    long : bool
        Whether it may be longer than a page.
    """

    name: str
    title: str
    headers: Sequence[Header]
    sections: Sequence[Section]
    notes: Sequence[str]
    sections_are: str = ""
    long: bool = False


def write(frame: pd.DataFrame, sheet: Sheet, csv: str, markdown: str, latex: str) -> None:
    """Write a table in three formats.

    Parameters
    ----------
    frame : DataFrame
        One row per number, every digit: the CSV.
    sheet : Sheet
        The same for people: Markdown and LaTeX.
    csv, markdown, latex : str
        Output files.
    """
    write_csv(frame, csv)
    for path, text in ((markdown, to_markdown(sheet)), (latex, to_latex(sheet))):
        with atomic(path) as part:
            Path(part).write_text(text, encoding="utf-8")


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table, every digit; a text that a spreadsheet would compute gets an apostrophe."""
    with atomic(path) as part:
        frame.map(_inert).to_csv(part, index=False)


def _inert(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def to_markdown(sheet: Sheet) -> str:
    """The table in Markdown, its notes below it."""
    heads = [f"{text} ({below})" if below else text for text, below in sheet.headers]
    title, notes = _markdown(sheet.title), map(_markdown, sheet.notes)
    first = [sheet.sections_are] if sheet.sections_are else []
    lines = [
        _bar([*first, *heads]),
        _bar([*(":--" for _ in first), ":--", *["--:"] * (len(heads) - 1)]),
    ]
    for section in sheet.sections:
        heading = [section.heading] if sheet.sections_are else []
        for cells in section.lines:
            texts = [f"**{cell.text}**" if cell.bold else cell.text for cell in cells]
            lines.append(_bar([*heading, *texts]))
    return "\n".join(
        [f"**{sheet.name}. {title}**", "", *lines, "", *(f"- {note}" for note in notes), ""]
    )


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    return MARKDOWN.sub(r"\\\g<0>", text)


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def to_latex(sheet: Sheet) -> str:
    """The table in LaTeX; its first line names the packages that it needs."""
    columns = len(sheet.headers)
    caption = rf"\caption{{{escape(' '.join([sheet.title, *sheet.notes]))}}}"
    label = rf"\label{{tab:{sheet.name.lower().replace(' ', '-')}}}"
    head = [r"\toprule", " & ".join(_latex_header(header) for header in sheet.headers) + r" \\"]
    body = []
    for section in sheet.sections:
        body.append(r"\midrule")
        if sheet.sections_are:
            heading = rf"\textit{{{escape(section.heading)}}}"
            body.append(rf"\multicolumn{{{columns}}}{{l}}{{{heading}}} \\")
        body += [
            " & ".join(_latex_cell(cell) for cell in cells) + r" \\" for cells in section.lines
        ]
    shape = f"l{'r' * (columns - 1)}"
    if sheet.long:
        lines = [
            r"% \usepackage{booktabs,longtable}",
            r"{\footnotesize",
            rf"\begin{{longtable}}{{{shape}}}",
            rf"{caption}{label} \\",
            *head,
            r"\endfirsthead",
            *head,
            r"\endhead",
            *body,
            r"\bottomrule",
            r"\end{longtable}}",
        ]
    else:
        lines = [
            r"% \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            caption,
            label,
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{shape}}}",
            *head,
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    return "\n".join([*lines, ""])


def _latex_header(header: Header) -> str:
    if not header.below:
        return escape(header.text)
    return rf"\shortstack{{{escape(header.text)}\\{{\tiny {escape(header.below)}}}}}"


def _latex_cell(cell: Cell) -> str:
    return rf"\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text)
