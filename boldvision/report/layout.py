"""How a table of numbers is laid out to be read: lines, bold numbers, notes."""

from __future__ import annotations

import pandas as pd

from boldvision.metrics.identification import TIES
from boldvision.report import published
from boldvision.report.formats import Cell, Header, Section, Sheet
from boldvision.report.results import labels_of
from boldvision.report.tables import MEAN, OURS, PUBLISHED, TABLES

INTERVAL = (
    "low and high in the CSV: 95 % over the images of one subject, by bootstrap; for two-way "
    "identification every image counts as tested and as competitor."
)

ARROWS = {"higher": "↑", "lower": "↓"}

PLUS_MINUS = (
    "± is the standard error of the mean over subjects, std(ddof = 0) / √(number of subjects), "
    "the paper's convention."
)


def sheet(frame: pd.DataFrame) -> Sheet:
    """A table made by `boldvision.report.tables.table`, as it is read."""
    number = int(frame["table"].iloc[0])
    counted = frame["parameters"].notna().any()
    headers = [Header("Method"), *([Header("Trained")] if counted else [])]
    per_subject = frame["subject"].nunique() > 1
    return Sheet(
        name=f"Table {number}",
        title=f"{TABLES[number].title}.",
        headers=[*headers, *_metric_headers(frame).values()],
        sections=_sections(frame, counted),
        notes=notes(frame),
        sections_are="Subject" if per_subject else "",
    )


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


def _metric_headers(frame: pd.DataFrame) -> dict[str, Header]:
    """Metric: its name with the arrow, and the label of our network where it is another."""
    labels = frame[frame["source"] == OURS].drop_duplicates("metric").set_index("metric")["label"]
    headers = {}
    for r in frame.drop_duplicates("metric").itertuples(index=False):
        label = labels.get(r.metric, "")
        headers[r.metric] = Header(
            f"{r.name} {ARROWS[r.better]}", f"ours: {label}" if label else ""
        )
    return {metric: headers[metric] for metric in published.METRICS if metric in headers}


def _sections(frame: pd.DataFrame, counted: bool) -> list[Section]:
    winners, metrics = best(frame), list(_metric_headers(frame))
    sections = []
    for subject, numbers in frame.groupby("subject", sort=False):
        lines = []
        for (source, row), group in numbers.groupby(["source", "row"], sort=False):
            name = f"{row} (published)" if source == PUBLISHED else str(row)
            cells = dict.fromkeys(metrics, Cell("–"))
            for index, r in group.iterrows():
                cells[r["metric"]] = Cell(_number(r["value"], r["sem"]), index in winners)
            count = [Cell(_count(group["parameters"].iloc[0]))] if counted else []
            lines.append([Cell(name), *count, *cells.values()])
        sections.append(Section("Mean" if subject == MEAN else str(subject), lines))
    return sections


def _number(value: float, sem: float) -> str:
    return f"{value:.2f}" if pd.isna(sem) else f"{value:.2f} ± {sem:.2f}"


def _count(parameters: int) -> str:
    """A number of parameters, for example ``0.397 M``."""
    if pd.isna(parameters):
        return "–"
    for least, size, unit in ((1e9, 1e9, "B"), (1e5, 1e6, "M"), (1e3, 1e3, "k")):
        if parameters >= least:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters)


def notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know to read a table."""
    number = int(frame["table"].iloc[0])
    ours = frame[frame["source"] == OURS]
    same = bool(ours["comparable"].all())
    apart = ", so ours and published separately where they are not comparable"
    return [
        *([f"{label}." for label in _labels(ours)] if same else [_warning(ours)]),
        f"{PLUS_MINUS} {_averages(number, ours)}",
        f"Rows marked published are Table {number} of {published.SOURCE}.",
        *TABLES[number].notes,
        *_networks(ours),
        *(f"As published, {o.where}: {o.text}." for o in published.ODDITIES if o.table == number),
        f"Two-way identification: direction {ours['direction'].iloc[0]}, protocol "
        f"{ours['protocol'].iloc[0]}. Ties are {TIES[ours['direction'].iloc[0]]}.",
        *([INTERVAL] if ours["low"].notna().any() else []),
        f"Bold: best among comparable rows{'' if same else apart}.",
    ]


def _averages(number: int, ours: pd.DataFrame) -> str:
    """Over how many subjects the means are."""
    n = ours.loc[ours["subject"] == MEAN, "subjects"].max()
    text = f"Our mean is over {n} subject{'s' if n > 1 else ''}, "
    if TABLES[number].subjects is None:
        return f"{text}the paper does not say over which its own is, and gives no ±."
    return f"{text}the published one over subjects 1, 2, 5 and 7."


def _networks(ours: pd.DataFrame) -> list[str]:
    labels = ours[~ours["genuine"]].drop_duplicates("metric")
    networks = ", ".join(f"{r.name} ({r.label})" for r in labels.itertuples(index=False))
    return [f"Our networks differ from the paper's for {networks}."] if networks else []


def _labels(ours: pd.DataFrame) -> list[str]:
    return labels_of(zip(ours["row"], ours["generator"], strict=True))


def _warning(ours: pd.DataFrame) -> str:
    if ours.loc[ours["genuine"], "comparable"].all():
        text = "NOT COMPARABLE with the published rows for the metrics of another network, below."
        return " ".join([text, *(f"{label}." for label in _labels(ours))])
    kind = "simulated dataset" if ours["note"].str.contains("simulated").any() else "dataset"
    generators = ", ".join(_labels(ours)) or "the paper's generator"
    return (
        f"NOT COMPARABLE: our rows ({kind} {ours['dataset'].iloc[0]}; {generators}; protocol "
        f"{ours['protocol'].iloc[0]}) must not be read against the published rows."
    )
