"""Tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from boldvision.files import atomic
from boldvision.report.tables import MEAN, OURS, PUBLISHED, notes

ARROWS = {"higher": "↑", "lower": "↓"}

LATEX_SPECIAL = {
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
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "√": r"$\surd$",
    "–": "--",
    "×": r"$\times$",
}


def write(frame: pd.DataFrame, title: str, csv: str, markdown: str, latex: str) -> None:
    """Write a table made by `boldvision.report.tables` in three formats.

    Parameters
    ----------
    frame : DataFrame
        One row per number.
    title : str
        First sentence of the caption.
    csv, markdown, latex : str
        Output files; the CSV is tidy and has every digit.
    """
    with atomic(csv) as part:
        frame.to_csv(part, index=False)
    for path, text in ((markdown, to_markdown(frame, title)), (latex, to_latex(frame, title))):
        with atomic(path) as part:
            Path(part).write_text(text, encoding="utf-8")


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(LATEX_SPECIAL.get(character, character) for character in text)


def best(frame: pd.DataFrame) -> set[int]:
    """Index of the best number of every subject and metric among the rows that compare.

    Numbers of ours that do not compare with the published ones compete among themselves; numbers
    that look the same in the table are both best.
    """
    winners: set[int] = set()
    rounded = frame.assign(shown=frame["value"].round(2))
    for _, group in rounded.groupby(["subject", "metric"], sort=False):
        one_pool = group["comparable"].all()
        pools = [group] if one_pool else [pool for _, pool in group.groupby("source")]
        for pool in pools:
            shown = pool["shown"]
            target = shown.max() if pool["better"].iloc[0] == "higher" else shown.min()
            winners |= set(pool.index[shown == target])
    return winners


def _headers(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Metric: its name with the arrow, and the label of our network where it is another."""
    ours = frame[frame["source"] == OURS].drop_duplicates("metric")
    return {
        r.metric: (f"{r.name} {ARROWS[r.better]}", f"ours: {r.label}" if r.label else "")
        for r in ours.itertuples(index=False)
    }


def _number(value: float, sem: float) -> str:
    return f"{value:.2f}" if pd.isna(sem) else f"{value:.2f} ± {sem:.2f}"


def _body(frame: pd.DataFrame, bold: str) -> list[tuple[str, list[str]]]:
    """Lines of the table as (subject, cells); `bold` holds the text in its place of ``{}``."""
    winners, metrics = best(frame), list(_headers(frame))
    lines = []
    for (subject, source, row), group in frame.groupby(["subject", "source", "row"], sort=False):
        cells = dict.fromkeys(metrics, "–")
        for index, record in group.iterrows():
            text = _number(record["value"], record["sem"])
            cells[record["metric"]] = bold.replace("{}", text) if index in winners else text
        name = f"{row} (published)" if source == PUBLISHED else str(row)
        lines.append((str(subject), [name, *cells.values()]))
    return lines


def to_markdown(frame: pd.DataFrame, title: str) -> str:
    """The table in Markdown, its notes below it."""
    headers = [f"{name} ({label})" if label else name for name, label in _headers(frame).values()]
    per_subject = frame["subject"].nunique() > 1
    first = ["Subject", "Method"] if per_subject else ["Method"]
    lines = [f"**{title}**", "", _bar([*first, *headers])]
    lines.append(_bar([*(":--" for _ in first), *("--:" for _ in headers)]))
    for subject, cells in _body(frame, "**{}**"):
        lines.append(_bar([subject, *cells] if per_subject else cells))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(frame)), ""])


def _bar(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def to_latex(frame: pd.DataFrame, title: str) -> str:
    """The table in LaTeX; needs the packages booktabs and graphicx."""
    headers = [
        rf"\shortstack{{{escape(name)}\\{{\tiny {escape(label)}}}}}" if label else escape(name)
        for name, label in _headers(frame).values()
    ]
    table = int(frame["table"].iloc[0])
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        rf"\caption{{{escape(' '.join([title, *notes(frame)]))}}}",
        rf"\label{{tab:table-{table}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * len(headers)}}}",
        r"\toprule",
        " & ".join(["Method", *headers]) + r" \\",
    ]
    previous = None
    for subject, cells in _body(frame, "BOLD{}BOLD"):
        if subject != previous:
            lines.append(r"\midrule")
            if frame["subject"].nunique() > 1:
                heading = "Mean" if subject == MEAN else subject
                lines.append(rf"\multicolumn{{{len(headers) + 1}}}{{l}}{{\textit{{{heading}}}}} \\")
            previous = subject
        lines.append(" & ".join(_latex_cell(cell) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])


def _latex_cell(cell: str) -> str:
    plain = cell.removeprefix("BOLD").removesuffix("BOLD")
    return escape(plain) if plain == cell else rf"\textbf{{{escape(plain)}}}"
