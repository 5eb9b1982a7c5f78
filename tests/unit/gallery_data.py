"""A synthetic gallery whose pictures say where they come from."""

from pathlib import Path

import numpy as np
import pandas as pd
from report_data import SHIFTS, TIMING, TR_S, WINDOWS, evaluation, name, write_images

from boldvision.report.gallery.page import GalleryPage

METRICS = ["alexnet_2", "ssim"]
PER_RUN = 12
VOLUMES = 3 * PER_RUN + 8


def trial_table(n_images: int, repetitions: int) -> pd.DataFrame:
    """Every image once, then every image again; trials 4 s apart, in 12 runs of 12."""
    trial = np.arange(n_images * repetitions)
    return pd.DataFrame(
        {
            "trial": trial,
            "session": trial // (12 * PER_RUN) + 1,
            "task_run": trial // PER_RUN % 12 + 1,
            "onset_s": 4.0 * (trial % PER_RUN),
            "image_id": trial % n_images + 101,
        }
    )


def value(trial, shift):
    """Score of a trial in a window."""
    return 0.5 + 0.01 * shift + 0.001 * (np.asarray(trial) % 100)


def colour(trial: int, shift: int) -> tuple[int, int, int]:
    """Colour of the whole reconstruction of a trial in a window."""
    return 10 * (shift + 8), trial % 256, 200


def stimulus_colour(image_id: int) -> tuple[int, int, int]:
    return 0, image_id % 256, 60


def inside(trials: pd.DataFrame, shift: int) -> pd.DataFrame:
    """Trials whose window of six samples lies in the run."""
    first = (trials["onset_s"] / TR_S).round() + 2 + shift
    return trials[(first >= 0) & (first + 6 <= VOLUMES)]


def gallery_rows(
    folder: Path,
    n_images: int = 14,
    repetitions: int = 2,
    px: int = 16,
    subjects=("subj01", "subj02"),
    specialized=(-1, 2),
) -> list[dict]:
    """General, Specialized and Dynadiff, which has the second half of the images alone."""
    rows = []
    for subject in subjects:
        trials = trial_table(n_images, repetitions)
        folder.mkdir(parents=True, exist_ok=True)
        trials.to_parquet(folder / f"{subject}.parquet")
        ids = np.unique(trials["image_id"])
        stimuli = write_images(
            folder / f"{subject}.h5",
            [np.full((px, px, 3), stimulus_colour(i), np.uint8) for i in ids],
            image_id=ids,
        )
        half = trials[trials["image_id"] >= ids[len(ids) // 2]]
        once = half.drop_duplicates("image_id", keep="last")
        models = [("General", 0, SHIFTS, trials), ("Dynadiff", 0, [0], once)]
        if subject == subjects[0]:
            models[1:1] = [("Specialized", s, [s], trials) for s in specialized]
        for row, trained, tested, shown in models:
            run = "dynadiff" if row == "Dynadiff" else "dynadiff_time_resolved"
            made = evaluation(
                folder / "metrics", row, subject, trained, tested, METRICS, n=8, run=run
            )
            own = folder / subject / row / name(trained)
            _write_model(Path(made["parquet"]), own, tested, shown, px)
            files = {"stimuli": str(stimuli), "trials": str(folder / f"{subject}.parquet")}
            files["split"] = "standard" if row == "Dynadiff" else "time_resolved"
            rows.append(made | files | {"reconstructions": str(own)})
    return rows


def _write_model(parquet: Path, folder: Path, tested, trials: pd.DataFrame, px: int) -> None:
    scores = []
    for shift in tested:
        there = inside(trials, shift)[["trial", "image_id"]]
        colours = [colour(trial, shift) for trial in there["trial"]]
        images = [np.full((px, px, 3), c, np.uint8) for c in colours]
        write_images(folder / f"{name(shift)}.h5", images, **there)
        for metric in METRICS:
            new = {"test_window": name(shift), "metric": metric}
            scores.append(there.assign(**new, value=value(there["trial"], shift)))
    pd.concat(scores).to_parquet(parquet)


def write_gallery(rows: list[dict], out: Path, **settings) -> Path:
    defaults = {
        "metrics": METRICS,
        "image_px": 64,
        "images": None,
        "windows": WINDOWS,
        "timing": TIMING,
        "dataset": "miniature",
        "simulated": True,
        "blur": True,
    }
    GalleryPage(rows, **defaults | settings).write(out)
    return out
