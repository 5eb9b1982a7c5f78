"""Synthetic evaluations, reconstructions and trials for the tests of the report."""

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
from config_data import runs_table

from boldvision.decoders.record import MODEL, RECORD, write_model_record
from boldvision.report.published import METRICS
from boldvision.report.times import Timing

FOUR = ("subj01", "subj02", "subj05", "subj07")
ABLATION = ["ssim", "alexnet_2", "clip", "miou"]

WINDOWS = {"main": {"start_s": 3.0, "n_tr": 6}}
TIMING = Timing(stimulus_s=3.0, trial_s=4.0)
TR_S = 4 / 3
SHIFTS = list(range(-8, 8))
LABELS = {"clip": "small random ViT", "swav": "random weights", "miou": "random_weights & 100 %"}
CHANCE = {"alexnet_2": 0.5, "alexnet_5": 0.5, "clip": 0.5, "inception": 0.5}
ALL = list(METRICS)
LOWER = {"efficientnet", "swav", "dreamsim"}


def name(shift: int) -> str:
    return f"main{shift:+d}" if shift else "main"


def shift_of(window: str) -> int:
    return int(window.removeprefix("main") or 0)


def strength(trained: int, tested: int) -> float:
    """0 … 1: how much of the image a model trained at one shift sees at another."""
    response = np.exp(-((trained / 4) ** 2))
    return float(response * np.exp(-(((tested - trained) / 2) ** 2)) if tested > -6 else 0.0)


def evaluation(
    folder: Path,
    row: str,
    subject: str = "subj01",
    trained: int = 0,
    tested: list[int] | None = None,
    metrics: list[str] | None = None,
    n: int = 40,
    level: float | None = None,
    generator: str = "tiny generator",
    genuine: bool = False,
    trained_on: str = "",
    run: str = "",
) -> dict:
    """Write an evaluation and give the row that a rule would list."""
    metrics, tested = metrics or ALL, [trained] if tested is None else tested
    rng = np.random.default_rng([len(row), int(subject[4:]), trained + 10])
    info, windows, images = {}, {}, []
    for m in metrics:
        label = "" if genuine else LABELS.get(m, "")
        info[m] = {
            "better": "lower" if m in LOWER else "higher",
            "chance": CHANCE.get(m),
            "network": m,
            "weights": "random" if label else "pretrained",
            "label": label,
            "genuine": not label,
        }
    for shift in tested:
        scores = {}
        for m in metrics:
            s = strength(trained, shift) if level is None else level
            centre = 0.9 - 0.3 * s if m in LOWER else CHANCE.get(m, 0.05) + 0.42 * s
            noise = rng.standard_normal(n) * 0.03
            values = centre + noise - noise.mean()
            half = 1.96 * values.std() / np.sqrt(n)
            scores[m] = {
                "value": float(values.mean()),
                "low": float(values.mean() - half),
                "high": float(values.mean() + half),
                "n": n,
                "chance": CHANCE.get(m, 0.05),
                "undefined": 0,
            }
            images.append(
                pd.DataFrame(
                    {
                        "test_window": name(shift),
                        "trial": np.arange(n),
                        "image_id": np.arange(n) + 1,
                        "metric": m,
                        "value": values,
                    }
                )
            )
        windows[name(shift)] = scores
    stem = folder / f"{row.replace(' ', '_').replace('/', '')}_{subject}_{name(trained)}"
    summary = {
        "protocol": "dynadiff",
        "direction": "prediction",
        "generator_label": generator,
        "metrics": info,
        "windows": windows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(summary))
    pd.concat(images).to_parquet(stem.with_suffix(".parquet"))
    model = stem.with_suffix(".model")
    (model / "train").mkdir(parents=True, exist_ok=True)
    record = {"sha256": "", "parameters": {"unet_trained": 1000 * len(row)}}
    (model / "train" / RECORD).write_text(json.dumps(record))
    write_model_record(model, "any", ["train"])
    return {
        "row": row,
        "run": run or row.lower().replace(" ", "_"),
        "subjects": trained_on or subject,
        "subject": subject,
        "window": name(trained),
        "identified": 0.8,
        "tr_s": TR_S,
        "model": str(model / MODEL),
        "parquet": str(stem.with_suffix(".parquet")),
        "summary": str(stem.with_suffix(".json")),
    }


def table_rows(folder: Path, subjects=("subj01", "subj02"), **kwargs) -> list[dict]:
    rows = []
    for i, subject in enumerate(subjects):
        rows.append(evaluation(folder, "Dynadiff", subject, level=0.9 - 0.1 * i, **kwargs))
        rows.append(evaluation(folder, "Mean image", subject, level=0.0, **kwargs))
    return rows


def paper_rows(folder: Path, number: int, subjects=FOUR, **kwargs) -> list[dict]:
    """The evaluations of a table of the paper, as the runs table lists them."""
    runs = runs_table().query(f"item == 'table_{number}'")
    return [
        evaluation(
            folder / line.run / line.test_set,
            line.row,
            subject,
            metrics=ABLATION if line.metrics == "ablation" else None,
            trained_on="+".join(subjects) if line.subjects == "joint" else "",
            level=0.9 if line.run == "dynadiff" else 0.8 - 0.1 * i,
            **kwargs,
        )
        for i, line in enumerate(runs.itertuples(index=False))
        for subject in subjects
    ]


def curve_rows(
    folder: Path, specialized=(-3, -1, 1, 3), tested=None, metrics=("ssim", "alexnet_2", "clip")
) -> list[dict]:
    """General in every window; Specialized in its own, or in those of `tested`."""
    same = {"metrics": list(metrics), "run": "dynadiff_time_resolved"}
    rows = [evaluation(folder, "General", tested=SHIFTS, **same)]
    rows += [
        evaluation(folder, "Specialized", trained=s, tested=tested, **same) for s in specialized
    ]
    return rows


def another_decoder(
    folder: Path, specialized=(-1, 2), tested=None, metrics=("ssim",)
) -> list[dict]:
    """The rows of `curve_rows`, of another decoder and by other names; the model first."""
    same = {"metrics": list(metrics), "run": "ridge_time_resolved"}
    rows = [evaluation(folder, "Ridge", tested=SHIFTS, **same)]
    rows += [
        evaluation(folder, "Ridge, each shift", trained=s, tested=tested, **same)
        for s in specialized
    ]
    return rows


def picture(seed: int, px: int) -> np.ndarray:
    """A disc on a gradient, uint8 [px, px, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:px, :px] / px
    colours = rng.integers(0, 255, (2, 3))
    image = colours[0] * (0.4 + 0.6 * y[..., None])
    centre, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.15, 0.3)
    image[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = colours[1]
    return image.astype(np.uint8)


def write_images(path: Path, images, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["images"] = np.stack(images)
        for key, values in columns.items():
            file[key] = np.asarray(values, np.int64)
    return path


def trial_table(n: int = 24, per_run: int = 12) -> pd.DataFrame:
    """Trials 4 s apart, with a blank after the third of every run."""
    place = np.arange(n) % per_run
    return pd.DataFrame(
        {
            "trial": np.arange(n),
            "session": 1,
            "task_run": np.arange(n) // per_run + 1,
            "onset_s": 4.0 * (place + (place > 2)),
            "image_id": np.arange(n) + 101,
        }
    )


def moving_windows(folder: Path, specialized=(-3, -1, 1, 3), px: int = 32, rows=None) -> tuple:
    """Rows of figure 4, trial table and stimuli of `trial_table`."""
    trials = trial_table()
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_parquet(folder / "trials.parquet")
    ids = trials["image_id"].to_numpy()
    stimuli = write_images(folder / "stimuli.h5", [picture(i, 48) for i in ids], image_id=ids)
    rows = rows or curve_rows(folder / "metrics", specialized)
    for row in rows:
        own = folder / row["row"] / row["window"]
        row["reconstructions"] = str(own)
        for shift in map(shift_of, json.loads(Path(row["summary"]).read_text())["windows"]):
            seen = [i + round(shift / 3) for i in ids]
            write_images(
                own / f"{name(shift)}.h5",
                [picture(i, px) for i in seen],
                trial=trials["trial"],
                image_id=ids,
            )
    return rows, folder / "trials.parquet", stimuli


def job(params: dict, output: dict, inputs: dict | None = None, wildcards: dict | None = None):
    """Something like the ``snakemake`` object of a script."""

    class Files(SimpleNamespace):
        def __getitem__(self, i):
            return list(vars(self).values())[i]

    return SimpleNamespace(
        params=SimpleNamespace(**params),
        output=Files(**{k: str(v) for k, v in output.items()}),
        input=Files(**(inputs or {})),
        wildcards=SimpleNamespace(**(wildcards or {})),
    )
