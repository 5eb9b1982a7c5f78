"""Tables 1 and 6: our rows, with the published rows beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from boldvision.metrics.intervals import standard_error
from boldvision.report import published
from boldvision.report.results import Evaluation, metrics_of

PUBLISHED_ROWS = {
    1: ("WAVE", "Brain-Diffuser", "MindEye1", "MindEye2", "Dynadiff"),
    6: ("WAVE", "MindEye1", "MindEye2", "Dynadiff"),
}
"""Rows of the paper's tables; table 6 has no Brain-Diffuser."""

COLUMNS = (
    "table",
    "source",
    "row",
    "subject",
    "metric",
    "name",
    "value",
    "sem",
    "low",
    "high",
    "images",
    "subjects",
    "better",
    "network",
    "label",
    "genuine",
    "comparable",
    "protocol",
    "direction",
    "dataset",
    "generator",
    "note",
)

MEAN = "mean"
OURS, PUBLISHED = "ours", "published"

PLUS_MINUS = (
    "± is the standard error of the mean over subjects, std(ddof = 0) / √(number of subjects), "
    "the paper's convention."
)


def comparable(evaluation: Evaluation, metric: str, simulated: bool) -> bool:
    """Whether a number of ours may be read against the paper's.

    It may where the data are real, the generator's weights and the metric's network are the
    paper's (neither has a label) and the protocol is Dynadiff's.
    """
    return (
        not simulated
        and not evaluation.generator_label
        and evaluation.protocol == "dynadiff"
        and evaluation.metrics[metric].genuine
    )


def table_1(evaluations: list[Evaluation], dataset: str, simulated: bool) -> pd.DataFrame:
    """Mean over subjects of every metric (paper, Table 1).

    Parameters
    ----------
    evaluations : list of Evaluation
        Every row on every subject, in the model's own window.
    dataset : str
        Name of the dataset.
    simulated : bool
        Whether the dataset is the miniature.

    Returns
    -------
    DataFrame
        One row per number, with `COLUMNS`: ``source`` is `ours` or `published`, ``value``,
        ``sem`` (over subjects), ``low`` and ``high`` (bootstrap 95 % over images, one subject) are
        in the paper's units, ``name`` is the paper's name of the metric.
    """
    return _frame(1, [MEAN], evaluations, dataset, simulated)


def table_6(evaluations: list[Evaluation], dataset: str, simulated: bool) -> pd.DataFrame:
    """Every metric per subject, then their mean (paper, Table 6).

    Parameters and columns are those of `table_1`.
    """
    subjects = sorted({e.subject for e in evaluations})
    return _frame(6, [*subjects, MEAN], evaluations, dataset, simulated)


def _frame(
    table: int,
    subjects: list[str],
    evaluations: list[Evaluation],
    dataset: str,
    simulated: bool,
) -> pd.DataFrame:
    metrics = [m for m in published.METRICS if m in metrics_of(evaluations)]
    by_row: dict[str, list[Evaluation]] = {}
    for e in evaluations:
        by_row.setdefault(e.row, []).append(e)
    records: list[dict[str, Any]] = []
    for subject in subjects:
        for row in PUBLISHED_ROWS[table]:
            records += [_published_record(table, subject, row, m, evaluations[0]) for m in metrics]
        for group in by_row.values():
            chosen = group if subject == MEAN else [e for e in group if e.subject == subject]
            if chosen:
                records += [_our_record(subject, chosen, m, simulated) for m in metrics]
    frame = pd.DataFrame(records).dropna(subset="value").reset_index(drop=True)
    ours = frame["source"] == OURS
    frame.insert(0, "table", table)
    frame = frame.astype({"images": "Int64"})
    frame["dataset"] = np.where(ours, dataset, "nsd")
    not_comparable = f"not comparable with the published rows: {_why(dataset, simulated)}"
    frame.loc[ours & ~frame["comparable"], "note"] = not_comparable
    return frame[list(COLUMNS)]


def _why(dataset: str, simulated: bool) -> str:
    if simulated:
        return f"dataset {dataset} is simulated"
    return "another generator, network or protocol than the paper's"


def _published_record(
    table: int, subject: str, row: str, metric: str, reference: Evaluation
) -> dict[str, Any]:
    value, sem = published.lookup(table, subject, row, metric) or (float("nan"), float("nan"))
    return {
        "source": PUBLISHED,
        "row": row,
        "subject": subject,
        "metric": metric,
        "name": published.METRICS[metric][0],
        "value": value,
        "sem": sem,
        "subjects": 4 if subject == MEAN else 1,
        "better": reference.metrics[metric].better,
        "label": "",
        "genuine": True,
        "comparable": True,
        "generator": "",
        "note": "; ".join([published.SOURCE, *published.flags(table, subject, row, metric)]),
    }


def _our_record(
    subject: str, chosen: list[Evaluation], metric: str, simulated: bool
) -> dict[str, Any]:
    factor = published.scale(metric)
    scores = [e.score(metric) for e in chosen]
    values = [factor * s.value for s in scores]
    info = chosen[0].metrics[metric]
    record = {
        "source": OURS,
        "row": chosen[0].row,
        "subject": subject,
        "metric": metric,
        "name": published.METRICS[metric][0],
        "value": float(np.mean(values)),
        "sem": standard_error(np.array(values)) if len(values) > 1 else float("nan"),
        "low": float("nan"),
        "high": float("nan"),
        "images": sum(s.n for s in scores),
        "subjects": len(chosen),
        "better": info.better,
        "network": f"{info.network}, {info.weights}" if info.network else "",
        "label": "" if info.genuine else info.label,
        "genuine": info.genuine,
        "comparable": comparable(chosen[0], metric, simulated),
        "protocol": chosen[0].protocol,
        "direction": chosen[0].direction,
        "generator": chosen[0].generator_label,
        "note": "",
    }
    if subject != MEAN:
        record |= {"low": factor * scores[0].low, "high": factor * scores[0].high}
    return record


def notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know to read a table made by `table_1` or `table_6`."""
    table = int(frame["table"].iloc[0])
    ours = frame[frame["source"] == OURS]
    subjects = ours.loc[ours["subject"] == MEAN, "subjects"].max()
    said = [] if ours["comparable"].all() else [_warning(ours)]
    said += [
        f"{PLUS_MINUS} Our mean is over {subjects} subject{'s' if subjects > 1 else ''}, the "
        "published one over subjects 1, 2, 5 and 7.",
        f"Rows marked published are Table {table} of {published.SOURCE}.",
    ]
    labels = ours[~ours["genuine"]].drop_duplicates("metric")
    if len(labels):
        networks = ", ".join(f"{r.name} ({r.label})" for r in labels.itertuples(index=False))
        said.append(f"Our networks differ from the paper's for {networks}.")
    odd = {
        f"{row} {published.METRICS[m][0]}": text
        for row in PUBLISHED_ROWS[table]
        for m in frame["metric"].unique()
        for text in published.flags(table, MEAN, row, m)
    }
    for text in dict.fromkeys(odd.values()):
        places = [where for where, said_here in odd.items() if said_here == text]
        place = places[0] if len(places) == 1 else places[0].rsplit(" ", 1)[0]
        said.append(f"As published, {place}: {text}.")
    said.append(f"Two-way identification: direction {ours['direction'].iloc[0]}, protocol "
                f"{ours['protocol'].iloc[0]}.")  # fmt: skip
    said.append(
        "Bold: best among comparable rows."
        if ours["comparable"].all()
        else "Bold: best among comparable rows, so ours and published separately where they are "
        "not comparable."
    )
    return said


def _warning(ours: pd.DataFrame) -> str:
    if ours.loc[ours["genuine"], "comparable"].all():
        return "NOT COMPARABLE with the published rows for the metrics of another network, below."
    kind = "simulated dataset" if ours["note"].str.contains("simulated").any() else "dataset"
    generators = ", ".join(sorted({g for g in ours["generator"] if g})) or "the paper's generator"
    return (
        f"NOT COMPARABLE: our rows ({kind} {ours['dataset'].iloc[0]}; {generators}; protocol "
        f"{ours['protocol'].iloc[0]}) must not be read against the published rows."
    )
