"""The paper's tables 1 to 8: our rows, with the published rows beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from boldvision.decoders.record import ADAPTED, OFFICIAL, stage_records
from boldvision.errors import UserError
from boldvision.metrics.intervals import standard_error
from boldvision.metrics.measures import MEASURES
from boldvision.report import published
from boldvision.report.results import Result, metrics_of

MEAN = "mean"
OURS, PUBLISHED = "ours", "published"


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes
    ----------
    title : str
        First sentence of its caption, after its number.
    shows, ours : str
        What the paper shows, and what is beside it here.
    reference : str
        Our row that the others are compared with: the paper's model.
    names : mapping
        Our row to the published one, where their names differ.
    subjects : int, optional
        Over how many subjects the published means are; None where the paper does not say.
    parameters : mapping
        Published row to the number of trained parameters of the U-Net, as printed.
    notes : tuple of str
        What else to know.
    """

    title: str
    shows: str
    ours: str
    reference: str = "Dynadiff"
    names: Mapping[str, str] = field(default_factory=dict)
    subjects: int | None = 4
    parameters: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_DECODERS = (
    "Dynadiff as trained here, where they were imported with the authors' own weights too, and the "
    "mean training image, the floor of every metric"
)

TABLES = {
    1: PaperTable(
        title="Reconstruction of images from single trials, mean over subjects",
        shows="ten image metrics of five decoders on single trials: one repetition of every test "
        "image, as mean ± standard error over subjects 1, 2, 5 and 7",
        ours=_DECODERS,
    ),
    2: PaperTable(
        title="Ablation of the brain module, mean over subjects",
        shows="four metrics of Dynadiff with one layer shared by all time samples instead of one "
        "per sample, and with the time aggregated before (IN) instead of after (OUT) these layers",
        ours="the three variants as trained here; the last row is the Dynadiff of Table 1",
        reference="timestep layers, aggregation OUT (Dynadiff)",
    ),
    3: PaperTable(
        title="What is trained of the diffusion model, mean over subjects",
        shows="four metrics of Dynadiff when all layers of the U-Net are trained, all linear "
        "layers, those of cross-attention, none, or low-rank adapters on cross-attention",
        ours="the five variants as trained here, with the trained parameters counted in each "
        "model; the last row is the Dynadiff of Table 1",
        reference="LoRA on cross-attention",
        names={
            "All layers": "All layers (1.1B)",
            "Linear layers": "Linear layers (500M)",
            "Cross-attention layers": "Cross-attention layers (100M)",
            "Frozen": "Frozen (0)",
            "LoRA on cross-attention": "LoRA on cross-attention (25M)",
        },
        parameters={
            "All layers (1.1B)": 1.1e9,
            "Linear layers (500M)": 500e6,
            "Cross-attention layers (100M)": 100e6,
            "Frozen (0)": 0,
            "LoRA on cross-attention (25M)": 25e6,
        },
        notes=(
            "Trained: parameters of the U-Net, adapters too, that are trained; ours are counted in "
            "the model, in the plain image U-Net of the generator named here, the published ones "
            "are as printed. The brain module is trained in every row and not counted.",
        ),
    ),
    4: PaperTable(
        title="Reconstruction of images from betas, mean over subjects",
        shows="eight metrics of eight decoders on betas; numbers of other decoders are from their "
        "own papers",
        ours="Dynadiff without timestep and aggregation layers, on betas as series of one sample",
        subjects=None,
        notes=(
            "The paper does not say whether the betas of an image's repetitions were averaged; "
            "ours are, as in the papers that the other rows are from.",
        ),
    ),
    5: PaperTable(
        title="Ablation of the preprocessing, mean over subjects",
        shows="ten metrics of Dynadiff on fMRIPrep's volumes mapped to fsaverage5, and on the time "
        "series preprocessed by NSD's authors",
        ours="both variants as trained here; the second is the Dynadiff of Table 1",
        reference="Dynadiff w/ NSD prep.",
        subjects=None,
    ),
    6: PaperTable(
        title="Reconstruction of images from single trials, per subject",
        shows="the metrics of Table 1 for every subject, and their mean; Brain-Diffuser is not in "
        "it",
        ours=_DECODERS,
    ),
    7: PaperTable(
        title="Reconstruction of images from the average of three trials, per subject",
        shows="the metrics of Table 6 when the windows of an image's three test trials are "
        "averaged",
        ours=f"{_DECODERS}; the models are those of Table 6",
    ),
    8: PaperTable(
        title="One model of all subjects, per subject",
        shows="ten metrics of one Dynadiff trained on subjects 1, 2, 5 and 7 together, for every "
        "subject, and their mean",
        ours="that model and the models of one subject, as trained here",
        notes=("The published numbers of models of one subject are in Table 6.",),
    ),
}
"""Number in the paper: the table. Rows and numbers are in ``published_tables.csv``."""

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
    "parameters",
    "protocol",
    "direction",
    "dataset",
    "generator",
    "note",
)


def published_row(number: int, row: str) -> str | None:
    """The published row that a row of ours repeats; None where there is none."""
    name = TABLES[number].names.get(row, row)
    return name if name in published.rows(number) else None


def by_row(evaluations: list[Result]) -> dict[str, list[Result]]:
    """Row of ours: its evaluations, one per subject.

    Raises
    ------
    UserError
        A row has two models of a subject.
    """
    groups: dict[str, list[Result]] = {}
    for e in evaluations:
        group = groups.setdefault(e.row, [])
        if other := next((o for o in group if o.subject == e.subject), None):
            raise UserError(
                f"runs table: row {e.row!r}: expected one model of {e.subject}, found {other.run} "
                f"({other.window}) and {e.run} ({e.window}); give each a row of its own"
            )
        group.append(e)
    return groups


def comparable(evaluation: Result, metric: str, simulated: bool) -> bool:
    """Whether a number of ours may be read against the paper's.

    It may where the data are real, the generator's weights and the metric's network are the
    paper's (neither has a label but that of official weights, or of an adaptation of ours) and the
    protocol is Dynadiff's.
    """
    labels = evaluation.generator_label.split("; ")
    return (
        not simulated
        and all(label in ("", OFFICIAL) or label.startswith(ADAPTED) for label in labels)
        and evaluation.protocol == "dynadiff"
        and evaluation.metrics[metric].genuine
    )


def caption(number: int) -> dict[str, str]:
    """What the report says of a table: `title`, what it `shows`, and of `ours`."""
    table = TABLES[number]
    return {"title": table.title, "shows": table.shows, "ours": table.ours}


def trained_parameters(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Trained parameters of the U-Net of every row, as counted when it was trained.

    Parameters
    ----------
    rows : iterable of mapping
        With ``row`` and ``model`` (``model.json`` of the model).

    Raises
    ------
    UserError
        A model was not counted.
    """
    counted = {}
    for row in rows:
        records = stage_records(Path(row["model"]).parent).values()
        found = [record["parameters"] for record in records if "parameters" in record]
        if not any("unet_trained" in parameters for parameters in found):
            raise UserError(
                f"{row['model']}: expected a stage with `parameters: unet_trained`, found none; "
                "train this model again"
            )
        counted[row["row"]] = sum(int(parameters.get("unet_trained", 0)) for parameters in found)
    return counted


def table(
    number: int,
    evaluations: list[Result],
    dataset: str,
    simulated: bool,
    trained: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """A table of the paper: all its published numbers, and ours for the same metrics.

    Parameters
    ----------
    number : int
        Of the table in the paper, 1 to 8.
    evaluations : list of Result
        Every row on every subject, in the model's own window.
    dataset : str
        Name of the dataset.
    simulated : bool
        Whether the dataset is the miniature.
    trained : mapping, optional
        From `trained_parameters`, for table 3.

    Returns
    -------
    DataFrame
        One row per number, with `COLUMNS`: ``source`` is `ours` or `published`, ``value``,
        ``sem`` (over subjects), ``low`` and ``high`` (95 % over images, one subject) are
        in the paper's units, ``name`` is the paper's name of the metric. A row of ours follows the
        published row that it repeats; rows that the paper does not have come last.
    """
    groups = by_row(evaluations)
    metrics = [m for m in published.metrics(number) if m in metrics_of(evaluations)]
    records: list[dict[str, Any]] = []
    for subject in _subjects(number, evaluations):
        for source, row in _lines(number, groups):
            if source == PUBLISHED:
                records += _published_records(number, subject, row)
                continue
            chosen = [e for e in groups[row] if subject in (MEAN, e.subject)]
            records += [_our_record(subject, chosen, m, simulated) for m in metrics if chosen]
    frame = pd.DataFrame(records, columns=list(COLUMNS)).assign(table=number)
    ours = frame["source"] == OURS
    frame.loc[ours, "parameters"] = frame.loc[ours, "row"].map(dict(trained or {}))
    frame["dataset"] = np.where(ours, dataset, "nsd")
    not_comparable = f"not comparable with the published rows: {_why(dataset, simulated)}"
    frame.loc[ours & ~frame["comparable"].astype(bool), "note"] = not_comparable
    counts = dict.fromkeys(("images", "subjects", "parameters"), "Int64")
    return frame.astype({**counts, "comparable": bool, "genuine": bool})


def _subjects(number: int, evaluations: list[Result]) -> list[str]:
    """Subjects of a table: the mean alone, or last after all that are published or ours."""
    known = set(published.subjects(number)) - {MEAN}
    each = known | {e.subject for e in evaluations} if known else set()
    return [*sorted(each), MEAN]


def _lines(number: int, ours: Iterable[str]) -> list[tuple[str, str]]:
    """Source and row of every line of a table, in order."""
    repeated = {row: published_row(number, row) for row in ours}
    lines = []
    for row in published.rows(number):
        lines.append((PUBLISHED, row))
        lines += [(OURS, own) for own, same in repeated.items() if same == row]
    return lines + [(OURS, own) for own, same in repeated.items() if same is None]


def _why(dataset: str, simulated: bool) -> str:
    if simulated:
        return f"dataset {dataset} is simulated"
    return "another generator, network or protocol than the paper's"


def _published_records(number: int, subject: str, row: str) -> list[dict[str, Any]]:
    paper = TABLES[number]
    records = []
    for metric in published.metrics(number):
        found = published.lookup(number, subject, row, metric)
        if found is None:
            continue
        notes = [published.SOURCE, *published.flags(number, subject, row, metric)]
        records.append(
            {
                "source": PUBLISHED,
                "row": row,
                "subject": subject,
                "metric": metric,
                "name": published.METRICS[metric][0],
                "value": found[0],
                "sem": found[1],
                "subjects": paper.subjects if subject == MEAN else 1,
                "better": MEASURES[metric].better,
                "label": "",
                "genuine": True,
                "comparable": True,
                "parameters": paper.parameters.get(row),
                "generator": "",
                "note": "; ".join(notes),
            }
        )
    return records


def _our_record(subject: str, chosen: list[Result], metric: str, simulated: bool) -> dict[str, Any]:
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
