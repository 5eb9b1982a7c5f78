"""The miniature's tables of stimuli and of behaviour, with NSD's columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boldvision import config
from boldvision.datasets.miniature.coco import numbers_in_coco
from boldvision.datasets.miniature.experiment import run_designs
from boldvision.seeds import numpy_generator

RESPONSE_COLUMNS = tuple(
    "SUBJECT SESSION RUN TRIAL 73KID 10KID TIME ISOLD ISCORRECT RT CHANGEMIND MEMORYRECENT "
    "MEMORYFIRST ISOLDCURRENT ISCORRECTCURRENT TOTAL1 TOTAL2 BUTTON MISSINGDATA".split()
)


def stimulus_table(fields: dict[str, np.ndarray], n_images: int) -> pd.DataFrame:
    """Columns of nsd_stim_info_merged.csv; `nsdId` is 0-based, repetitions are 1-based trials."""
    table = numbers_in_coco(n_images)
    table["cropBox"] = "(0, 0, 0, 0)"
    table["loss"] = 0.0
    table["nsdId"] = np.arange(n_images)
    table["flagged"] = False
    table["BOLD5000"] = False
    table["shared1000"] = np.isin(table["nsdId"] + 1, fields["sharedix"])
    order = fields["masterordering"][0].astype(np.int64)
    shown = {}
    for number, ids in enumerate(fields["subjectim"], start=1):
        table[f"subject{number}"] = np.isin(table["nsdId"] + 1, ids).astype(int)
        repetitions = np.zeros((n_images, 3), np.int64)
        repetitions[ids - 1] = np.argsort(order, kind="stable").reshape(-1, 3) + 1
        for k in range(3):
            shown[f"subject{number}_rep{k}"] = repetitions[:, k]
    return pd.concat([table, pd.DataFrame(shown)], axis=1)


def responses(fields: dict[str, np.ndarray], subject: config.Subject, seed: int) -> pd.DataFrame:
    """Columns of responses.tsv: one row per trial; RUN is the task run 1..12."""
    design = run_designs(fields, subject.number)[: subject.sessions]
    session, run, row = np.nonzero(design)
    first = np.r_[True, (np.diff(session) != 0) | (np.diff(run) != 0)]
    start = np.maximum.accumulate(np.where(first, np.arange(len(row)), 0))
    image = design[session, run, row]
    old = pd.Series(image).duplicated().to_numpy().astype(int)
    random = numpy_generator(seed, "behaviour", subject.number)
    correct = (random.random(len(image)) < 0.85).astype(int)
    table = pd.DataFrame(0, index=range(len(image)), columns=list(RESPONSE_COLUMNS), dtype=object)
    table["SUBJECT"] = subject.number
    table["SESSION"], table["RUN"] = session + 1, run + 1
    table["TRIAL"] = np.arange(len(row)) - start + 1
    table["73KID"] = image
    table["10KID"] = fields["masterordering"][0, : len(image)]
    table["TIME"] = np.round(session * 7 + 0.5 + (run * 300 + row * 4 / 3) / 86400, 9)
    table["ISOLD"] = table["ISOLDCURRENT"] = old
    table["ISCORRECT"] = table["ISCORRECTCURRENT"] = correct
    table["RT"] = np.round(random.normal(900, 150, len(image)).clip(200), 1)
    table["MEMORYRECENT"] = table["MEMORYFIRST"] = np.nan
    table["BUTTON"] = np.where(old == correct, 2, 1)
    table["TOTAL1"], table["TOTAL2"] = (table["BUTTON"] == 1) * 1, (table["BUTTON"] == 2) * 1
    return table
