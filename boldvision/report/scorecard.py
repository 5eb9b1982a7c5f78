"""The scorecard: ours, published, difference, uncertainty, and what may be compared."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from boldvision.files import atomic
from boldvision.metrics.intervals import bootstrap_interval
from boldvision.report import published
from boldvision.report.results import Evaluation
from boldvision.report.tables import MEAN, OURS, table_1, table_6

INTERVAL = (
    "Ours: bootstrap 95 % interval over images; for the mean, over images pooled across subjects "
    "(an image is drawn with its values in all subjects, subjects stay). Published: ± 1.96 "
    "standard errors over subjects where the paper gives them, and at least the rounding of the "
    "printed number. Within: the two intervals overlap."
)
"""How `within` is decided."""


def mean_interval(
    evaluations: list[Evaluation], metric: str, seed: int, samples: int = 2000
) -> tuple[float, float]:
    """Bootstrap 95 % interval over the images of several subjects, in the paper's units.

    An image is drawn with its values in all subjects; subjects are not resampled.
    """
    pooled = pd.concat([e.images(metric) for e in evaluations])
    low, high = bootstrap_interval(
        pooled["value"].to_numpy(float), pooled["image_id"].to_numpy(), samples=samples, seed=seed
    )
    return published.scale(metric) * low, published.scale(metric) * high


def published_interval(value: float, sem: float) -> tuple[float, float]:
    """Interval of a published number: ± 1.96 standard errors, at least its rounding."""
    half = max(0.005, 0.0 if np.isnan(sem) else 1.96 * sem)
    return value - half, value + half


def scorecard(
    evaluations: list[Evaluation], dataset: str, simulated: bool, seed: int = 0
) -> pd.DataFrame:
    """Every number of ours in tables 1 and 6, with the published one of the same name.

    Returns
    -------
    DataFrame
        ``table``, ``row``, ``subject``, ``metric``, ``name``, ``ours``, ``low``, ``high``,
        ``published``, ``published_sem``, ``difference``, ``within`` (``yes``, ``no``, ``not
        comparable`` or ``not published``), ``comparable``, ``label``, ``dataset``, ``generator``,
        ``oddity``; values in the paper's units.
    """
    frames = [table_1(evaluations, dataset, simulated), table_6(evaluations, dataset, simulated)]
    records = []
    numbers = pd.concat(frames)
    for r in numbers[numbers["source"] == OURS].itertuples(index=False):
        low, high = r.low, r.high
        if r.subject == MEAN:
            group = [e for e in evaluations if e.row == r.row]
            low, high = mean_interval(group, r.metric, seed)
        number = published.lookup(r.table, r.subject, r.row, r.metric)
        value, sem = number or (np.nan, np.nan)
        records.append(
            {
                **{k: getattr(r, k) for k in ("table", "row", "subject", "metric", "name")},
                "ours": r.value,
                "low": low,
                "high": high,
                "published": value,
                "published_sem": sem,
                "difference": r.value - value,
                "within": within((low, high), value, sem, r.comparable),
                "comparable": r.comparable,
                "label": r.label,
                "dataset": r.dataset,
                "generator": r.generator,
                "oddity": "; ".join(published.flags(r.table, r.subject, r.row, r.metric)),
            }
        )
    return pd.DataFrame(records)


def within(ours: tuple[float, float], value: float, sem: float, comparable: bool) -> str:
    """Whether a number of ours, given its interval, agrees with the published one: `INTERVAL`."""
    if np.isnan(value):
        return "not published"
    if not comparable:
        return "not comparable"
    low, high = published_interval(value, sem)
    return "yes" if ours[0] <= high and low <= ours[1] else "no"


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}
th{border-bottom:2px solid #222}td.t,th.t{text-align:left}
tr.grey td{color:#6b6b6b;background:#f6f6f6}
.warning{border-left:4px solid #d55e00;padding:.5rem 1rem;background:#fdf3ec}
small{color:#555}
"""

COLUMNS = ("Method", "Metric", "Ours", "95 % interval", "Published", "Difference", "Within")


def to_html(frame: pd.DataFrame) -> str:
    """The scorecard as one HTML page without outside resources."""
    dataset = frame["dataset"].iloc[0]
    generators = ", ".join(sorted({g for g in frame["generator"] if g})) or "the paper's"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Scorecard</title>',
        f"<style>{STYLE}</style></head><body><h1>Scorecard</h1>",
        f"<p>Dataset: <b>{escape(dataset)}</b>. Generator: <b>{escape(generators)}</b>. "
        f"Published: {escape(published.SOURCE)}.</p>",
        f"<p>{escape(INTERVAL)}</p>",
    ]
    if not frame["comparable"].all():
        parts.append(
            '<p class="warning">Grey rows are <b>not comparable</b> with the published numbers: '
            "the data are simulated, the generator is another, or the metric uses another network "
            "than the paper's, named beside the metric.</p>"
        )
    for (table, subject), group in frame.groupby(["table", "subject"], sort=False):
        parts += [f"<h2>Table {table}: {escape(str(subject))}</h2>", _html_table(group)]
    parts.append("<h2>Oddities of the published tables</h2><ul>")
    parts += [f"<li>{escape(text)}</li>" for text in _oddities()]
    return "\n".join([*parts, "</ul></body></html>", ""])


def _html_table(frame: pd.DataFrame) -> str:
    heads = [f'<th class="t">{c}</th>' if c in COLUMNS[:2] else f"<th>{c}</th>" for c in COLUMNS]
    lines = ["<table><thead><tr>", *heads, "</tr></thead><tbody>"]
    for r in frame.itertuples(index=False):
        label = f" <small>({escape(r.label)})</small>" if r.label else ""
        mark = f' <abbr title="{escape(r.oddity)}">⚑</abbr>' if r.oddity else ""
        sem = "" if np.isnan(r.published_sem) else f" ± {r.published_sem:.2f}"
        known = not np.isnan(r.published)
        cells = [
            f'<td class="t">{escape(r.row)}</td>',
            f'<td class="t">{escape(r.name)}{label}</td>',
            f"<td>{r.ours:.2f}</td>",
            f"<td>{r.low:.2f} to {r.high:.2f}</td>",
            f"<td>{r.published:.2f}{sem}{mark}</td>" if known else "<td>–</td>",
            f"<td>{r.difference:+.2f}</td>" if known else "<td>–</td>",
            f"<td>{escape(r.within)}</td>",
        ]
        grey = "" if r.comparable else ' class="grey"'
        lines.append(f"<tr{grey}>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _oddities() -> list[str]:
    return [
        f"Table {o.table}, {o.row}"
        f"{', ' + o.subject if o.subject else ''}"
        f" ({', '.join(published.METRICS[m][0] for m in o.metrics)}): {o.text}."
        for o in published.ODDITIES
    ]


def write(frame: pd.DataFrame, csv: str | Path, html: str | Path) -> None:
    """Write the scorecard as CSV, every digit, and as HTML."""
    with atomic(csv) as part:
        frame.to_csv(part, index=False)
    with atomic(html) as part:
        part.write_text(to_html(frame), encoding="utf-8")
