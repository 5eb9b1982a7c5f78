"""Synthetic models with given scores, for the tests of single figures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from report_data import LOWER, TR_S, picture, write_images

WINDOWS = {"main": {"start_s": 3.0, "n_tr": 6}}
WINDOWS |= {f"main_{n}tr": {"start_s": 3.0, "n_tr": n} for n in range(1, 6)}


def model(
    folder: Path,
    row: str,
    values: dict[str, dict[str, np.ndarray]],
    *,
    run: str = "dynadiff",
    subject: str = "subj01",
    window: str = "main",
    image_ids=None,
    chance: float = 0.5,
) -> dict:
    """Write the scores `values[test_window][metric]` of a model and give its row of a rule.

    Trial `i` shows image `image_ids[i]`, by default `101 + i`.
    """
    folder = folder / f"{row}_{run}_{subject}_{window}".replace(" ", "_")
    folder.mkdir(parents=True)
    frames, windows, metrics = [], {}, {}
    for test_window, scores in values.items():
        windows[test_window] = {}
        for metric, value in scores.items():
            ids = np.arange(len(value)) + 101 if image_ids is None else np.asarray(image_ids)
            columns = {"trial": np.arange(len(value)), "image_id": ids, "value": value}
            frames.append(pd.DataFrame(columns | {"test_window": test_window, "metric": metric}))
            half = 1.96 * np.std(value) / np.sqrt(len(value))
            windows[test_window][metric] = {
                "value": float(np.mean(value)),
                "low": float(np.mean(value) - half),
                "high": float(np.mean(value) + half),
                "n": len(value),
                "chance": chance,
            }
            metrics[metric] = {
                "better": "lower" if metric in LOWER else "higher",
                "network": metric,
                "weights": "random",
                "label": "random weights" if metric == "clip" else "",
                "genuine": metric != "clip",
            }
    pd.concat(frames).to_parquet(folder / "scores.parquet")
    summary = {
        "protocol": "dynadiff",
        "direction": "prediction",
        "generator_label": "tiny generator",
        "metrics": metrics,
        "windows": windows,
    }
    (folder / "scores.json").write_text(json.dumps(summary))
    return {
        "row": row,
        "run": run,
        "subjects": subject,
        "subject": subject,
        "window": window,
        "tr_s": TR_S,
        "parquet": str(folder / "scores.parquet"),
        "summary": str(folder / "scores.json"),
    }


def around(mean: float, n: int = 60, spread: float = 0.15) -> np.ndarray:
    """Values of `n` images with that mean."""
    noise = np.random.default_rng(n).standard_normal(n)
    return mean + spread * (noise - noise.mean())


def with_pictures(folder: Path, row: dict, image_ids, made: int = 0) -> dict:
    """Add stimuli and reconstructions: of image `i`, `picture(i)` and `picture(i + made)`."""
    ids = [int(i) for i in image_ids]
    stimuli = folder / f"{row['subject']}.h5"
    write_images(stimuli, [picture(i, 48) for i in ids], image_id=ids)
    own = folder / row["row"] / row["subject"]
    pictures = [picture(i + made, 32) for i in ids]
    write_images(own / f"{row['window']}.h5", pictures, trial=ids, image_id=ids)
    return row | {"stimuli": str(stimuli), "reconstructions": str(own)}


def two_subjects(folder: Path, rows=("Dynadiff",), metric: str = "pixcorr") -> list[dict]:
    """Models of two subjects that share images 103 … 120: image `i` scores `i / 1000`.

    Subject 2 saw two images less: 101 and 102. A second decoder ranks them the other way round.
    """
    found = []
    for sign, row in zip((1, -1), rows, strict=False):
        for subject, first in (("subj01", 101), ("subj02", 103)):
            ids = np.arange(first, 121)
            values = {"main": {metric: sign * ids / 1000}}
            scored = model(folder, row, values, subject=subject, image_ids=ids, run=row.lower())
            found.append(with_pictures(folder, scored, ids, made=1000 * (2 - sign)))
    return found


def durations(folder: Path, metrics=("alexnet_2", "alexnet_5", "clip", "inception")) -> list[dict]:
    """Rows of figure 6, the longest first."""
    rows = []
    for n_tr in range(6, 0, -1):
        window = "main" if n_tr == 6 else f"main_{n_tr}tr"
        scores = {m: around(0.95 - 0.3 / n_tr) for m in metrics}
        rows.append(model(folder, f"{n_tr} TR", {window: scores}, window=window))
    return rows


def few_sessions(folder: Path, metrics=("ssim", "alexnet_2", "clip", "miou")) -> list[dict]:
    """Rows of figure 9 of a subject with 40 sessions."""
    rows = []
    for row, run, gain in (
        ("Not pretrained", "dynadiff", 0.0),
        ("Pretrained", "dynadiff_pretrained", 0.1),
    ):
        for n in (1, 2, 5, 10, 20, 40):
            name = run if n == 40 else f"{run}-{n}sessions"
            level = 0.6 + 0.09 * np.log2(n) * 0.7 + gain / n
            rows.append(model(folder, row, {"main": {m: around(level) for m in metrics}}, run=name))
    return rows


SPLITS = {
    "as published": "time_resolved",
    "leakage-free": "time_resolved_leakage_free",
    "size-matched": "time_resolved_size_matched",
}


def of_split(row: dict) -> dict:
    """The row with the split and the run that its name says."""
    split = SPLITS[row["row"].rpartition(", ")[2]]
    return row | {"run": f"dynadiff_{split}", "split": split}


def time_resolved_splits(folder: Path) -> tuple[list[dict], pd.DataFrame]:
    """Rows of `leakage` and the subject's trials.

    Test trials 0 … 79 show images 1 … 40 twice; 1 … 20 are also shown in training. As published,
    images that leak score 0.2 more than leakage-free, and the others 0.05 more; size-matched 0.15
    and no more.
    """
    images = np.repeat(np.arange(1, 41), 2)
    rows = []
    for split, leaking, other in (
        ("as published", 0.2, 0.05), ("leakage-free", 0.0, 0.0), ("size-matched", 0.15, 0.0)
    ):  # fmt: skip
        score = np.random.default_rng(0).uniform(0.4, 0.7, len(images))
        score += np.where(images <= 20, leaking, other)
        for curve, trained, tested in (
            ("General", "main", ["main-1", "main", "main+1"]),
            ("Specialized", "main+1", ["main+1"]),
        ):
            values = {window: {"alexnet_2": score} for window in tested}
            row = f"{curve}, {split}"
            rows.append(of_split(model(folder, row, values, window=trained, image_ids=images)))
    train = np.concatenate([np.arange(1, 21), np.arange(100, 130)])
    image_id = np.concatenate([images, train])
    published = np.repeat(["test", "train"], [len(images), len(train)])
    leaks = (published == "train") & (image_id <= 20)
    place = {"session": 1, "task_run": 1, "onset_s": 0.0}
    trials = pd.DataFrame({"trial": np.arange(len(image_id)), "image_id": image_id, **place})
    splits = {
        "time_resolved": published,
        "time_resolved_leakage_free": np.where(leaks, "excluded", published),
        "time_resolved_size_matched": np.where(image_id >= 110, "excluded", published),
    }
    return rows[:-1], (trials, splits)  # no size-matched model of each window
