"""Reconstruct the images of a test set with a trained decoder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np

from boldvision import config
from boldvision.cli import settings_from
from boldvision.decoders.base import Decoder, digest, implementation
from boldvision.decoders.train import add_data_arguments, run_settings, subject_data
from boldvision.files import atomic, replace_folder
from boldvision.nsd.integrity import sha256
from boldvision.trials.windows import AveragedWindows, Windows, load_windows


def reconstruct(
    decoder: Decoder, windows: Windows | AveragedWindows, subject: str, batch_size: int, out: Path
) -> None:
    """Reconstruct every window and write the reconstruction file `out`.

    Parameters
    ----------
    decoder : Decoder
    windows : Windows or AveragedWindows
        The test windows of one subject.
    subject : str
    batch_size : int
        Windows decoded together; the pictures do not depend on it.
    out : Path
        ``images`` uint8 [N, H, W, 3], ``trial``, ``image_id`` int64 [N]; attributes ``dropped``
        and ``label``.
    """
    trials = windows.trials
    keys = np.where(trials["trial"] < 0, -trials["image_id"], trials["trial"])
    with atomic(out) as part, h5py.File(part, "w") as file:
        for start in range(0, len(windows), batch_size):
            batch = slice(start, min(start + batch_size, len(windows)))
            pictures = decoder.reconstruct(windows[batch], subject, keys[batch].tolist())
            if "images" not in file:
                shape = (len(windows), *pictures.shape[1:])
                file.create_dataset("images", shape, np.uint8, track_times=False)
            file["images"][batch] = pictures
        for name in ("trial", "image_id"):
            values = trials[name].to_numpy(np.int64)
            file.create_dataset(name, data=values, track_times=False)
        file.attrs.update(dropped=windows.dropped, label=decoder.label)


def main(argv: list[str]) -> None:
    """Stage `reconstruct`: one file per test window in folder ``--out``.

    Finished windows wait in ``<out>.partial`` until all are there, so a killed job goes on, if the
    model, the seed and all settings are the same.
    """
    parser = argparse.ArgumentParser(prog="boldvision reconstruct", description=__doc__)
    add_data_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    from boldvision.training.device import best_device

    settings = settings_from(arguments.settings)
    run, generator = run_settings(settings)
    (data,) = subject_data(arguments, settings)
    decoder = implementation(run.decoder).load(
        run, generator, arguments.model, arguments.seed, best_device()
    )
    work = arguments.out.with_name(f"{arguments.out.name}.partial")
    model = sha256(arguments.model / "model.safetensors")
    partial = work / digest(settings, data.name, data.contents(), arguments.seed, model)
    for name, window in settings["windows"].items():
        target = partial / f"{name}.h5"
        if target.exists():
            continue
        windows = load_windows(
            data.need("bold"),
            data.trials,
            config.Window(**window),
            data.preprocessing,
            run.split,
            "test",
            settings["trials"],
            arguments.seed,
        )
        reconstruct(decoder, windows, data.name, settings["batch_size"], target)
        print(f"{name}: {len(windows)} windows, {windows.dropped} dropped", flush=True)
    replace_folder(partial, arguments.out)
    shutil.rmtree(work)
