"""The scorecard as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from boldvision.files import atomic
from boldvision.report import published
from boldvision.report.formats import write_csv
from boldvision.report.results import labels_of
from boldvision.report.scorecard import (
    METHOD,
    NO_PLUGIN,
    NOT_COMPARABLE,
    NOT_HERE,
    STATUSES,
    summary,
)
from boldvision.report.tables import TABLES

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
h1,h2{line-height:1.2}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
thead th{border-bottom:2px solid #222;vertical-align:bottom}
section{scroll-margin-top:2.6rem}section table{width:100%}
section thead th{position:sticky;top:2.6rem;background:#fff}
.t{text-align:left}td.t{white-space:normal}tr.first:not(:first-child) td{border-top:2px solid #999}
tr.grey td{color:#6b6b6b;background:#f4f4f4}tr.none td{color:#6b6b6b}
.agrees{color:#00583f;font-weight:600}.disagrees{color:#a33f00;font-weight:600}
.warning{border-left:4px solid #d55e00;padding:.5rem 1rem;background:#fdf3ec}
nav{position:sticky;top:0;background:#fff;border-bottom:1px solid #ddd;z-index:1;display:flex;
gap:1.2rem;align-items:center;height:2.6rem;white-space:nowrap;overflow-x:auto}
select{font:inherit;max-width:11rem}small{color:#555}abbr{cursor:help;text-decoration:none}
[hidden]{display:none}
"""

SCRIPT = """
const filters = [...document.querySelectorAll("nav select")];
function show() {
  let shown = 0;
  for (const section of document.querySelectorAll("section")) {
    let some = 0, group = "";
    for (const row of section.querySelectorAll("tbody tr")) {
      const fits = filters.every(f => !f.value || row.dataset[f.name] === f.value);
      row.hidden = !fits;
      if (!fits) continue;
      const own = row.dataset.method + row.dataset.subject;
      row.classList.toggle("first", own !== group);
      group = own;
      some += 1;
    }
    section.hidden = !some;
    shown += some;
  }
  document.getElementById("shown").textContent = shown;
}
filters.forEach(f => f.addEventListener("change", show));
show();
"""

HEADS = (
    "Method",
    "Subject",
    "Metric",
    "Published",
    "Ours",
    "95 % interval",
    "Difference",
    "Status",
)
TEXT_HEADS = ("Method", "Subject", "Metric", "Status")


def write(frame: pd.DataFrame, csv: str | Path, html: str | Path) -> None:
    """Write the scorecard as CSV, every digit, and as HTML."""
    write_csv(frame, csv)
    with atomic(html) as part:
        part.write_text(to_html(frame), encoding="utf-8")


def to_html(frame: pd.DataFrame) -> str:
    """The page: what the numbers are, counts, a filter, then a section per table."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Scorecard</title>',
        '<meta name="viewport" content="width=device-width">',
        f"<style>{STYLE}</style></head><body><h1>Scorecard</h1>",
        *_introduction(frame),
        _summary(frame),
        _filters(frame),
    ]
    for number, group in frame.groupby("table", sort=False):
        title = escape(f"Table {number}: {TABLES[int(number)].title}")
        parts.append(f'<section id="table-{number}"><h2>{title}</h2>{_table(group)}</section>')
    parts += ["<h2>Oddities of the published tables</h2><ul>", *_oddities(frame), "</ul>"]
    return "\n".join([*parts, f"<script>{SCRIPT}</script></body></html>", ""])


def _introduction(frame: pd.DataFrame) -> list[str]:
    rows = zip(frame["row"], frame["generator"], strict=True)
    generators = ", ".join(labels_of(rows)) or "the paper's"
    lines = [
        f"<p>Every published number beside ours. Dataset: <b>{escape(frame['dataset'].iloc[0])}</b>"
        f". Generator: <b>{escape(generators)}</b>. Published: {escape(published.SOURCE)}.</p>"
    ]
    reasons = frame.loc[frame["status"] == NOT_COMPARABLE, "reason"].unique()
    if len(reasons):
        lines.append(
            '<p class="warning">Grey numbers are <b>not comparable</b> with the published ones, '
            f"and no agreement is stated: {escape('; '.join(reasons))}. A network other than the "
            "paper's is named beside its metric.</p>"
        )
    return [*lines, f"<p><small>{escape(METHOD)}</small></p>"]


def _summary(frame: pd.DataFrame) -> str:
    counts = summary(frame)
    heads = "".join(f"<th>{escape(status)}</th>" for status in STATUSES)
    lines = [f'<table id="summary"><thead><tr><th class="t">Table</th><th>published</th>{heads}']
    lines.append("</tr></thead><tbody>")
    for number, row in counts.iterrows():
        lines.append(_summary_line(f'<a href="#table-{number}">Table {number}</a>', row))
    lines.append(_summary_line("<b>All</b>", counts.sum()))
    return "".join([*lines, "</tbody></table>"])


def _summary_line(name: str, counts: pd.Series) -> str:
    cells = "".join(f"<td>{count or '–'}</td>" for count in [counts.sum(), *counts])
    return f'<tr><td class="t">{name}</td>{cells}</tr>'


def _filters(frame: pd.DataFrame) -> str:
    choices = {
        "table": [str(number) for number in frame["table"].unique()],
        "method": list(frame["row"].unique()),
        "subject": sorted(frame["subject"].unique()),
        "metric": list(frame["name"].unique()),
        "status": [status for status in STATUSES if (frame["status"] == status).any()],
    }
    parts = ["<nav>"]
    for name, values in choices.items():
        options = "".join(f"<option>{escape(value)}</option>" for value in values)
        parts.append(
            f'<label>{name} <select name="{name}"><option value="">all</option>{options}</select>'
            "</label>"
        )
    return "".join([*parts, '<span><b id="shown"></b> numbers</span></nav>'])


def _table(frame: pd.DataFrame) -> str:
    """Numbers of a table; rows that have ours come first."""
    ours_first = frame.assign(empty=frame["status"] == NO_PLUGIN).sort_values(
        "empty", kind="stable"
    )
    heads = [f'<th class="t">{h}</th>' if h in TEXT_HEADS else f"<th>{h}</th>" for h in HEADS]
    lines = [f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>"]
    lines += [_line(r) for r in ours_first.itertuples(index=False)]
    return "\n".join([*lines, "</tbody></table>"])


def _line(r: Any) -> str:
    digits = 2 if published.scale(r.metric) > 1 else 3
    sem = "" if np.isnan(r.published_sem) else f" ± {r.published_sem:.2f}"
    mark = f' <abbr title="{escape(r.oddity)}">⚑</abbr>' if r.oddity else ""
    numbers = ["–", "–", "–"]
    if not np.isnan(r.ours):
        interval = f"{r.low:.{digits}f} to {r.high:.{digits}f}"
        numbers = [f"{r.ours:.{digits}f}", interval, f"{r.difference:+.{digits}f}"]
    label = f" <small>(ours: {escape(r.label)})</small>" if r.label else ""
    data = {"table": r.table, "method": r.row, "subject": r.subject, "metric": r.name,
            "status": r.status}  # fmt: skip
    attributes = "".join(f' data-{key}="{escape(str(value))}"' for key, value in data.items())
    look = {NOT_COMPARABLE: "grey", NOT_HERE: "none", NO_PLUGIN: "none"}.get(r.status, "")
    return (
        f'<tr class="{look}"{attributes}><td class="t">{escape(r.row)}</td>'
        f'<td class="t">{escape(r.subject)}</td><td class="t">{escape(r.name)}{label}</td>'
        f"<td>{r.published:.2f}{sem}{mark}</td>"
        + "".join(f"<td>{number.replace('-', '−')}</td>" for number in numbers)
        + f'<td class="t {r.status}" title="{escape(r.reason)}">{escape(r.status)}</td></tr>'
    )


def _oddities(frame: pd.DataFrame) -> list[str]:
    shown = set(frame["table"])
    return [
        f"<li>Table {o.table}, {escape(o.where)}: {escape(o.text)}.</li>"
        for o in published.ODDITIES
        if o.table in shown
    ]
