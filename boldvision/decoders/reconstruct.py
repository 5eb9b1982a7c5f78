"""Reconstruct the images of a test set with a trained decoder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from boldvision import config, plugins
from boldvision.cli import settings_from
from boldvision.decoders.arguments import Settings, add_data_arguments
from boldvision.decoders.base import (
    Decoder,
    Trained,
    digest,
    read_data,
    read_finite,
    target_digests,
)
from boldvision.decoders.record import MODEL, read_model_record
from boldvision.device import best_device
from boldvision.errors import UserError
from boldvision.files import atomic, only_job, replace_folder, sha256
from boldvision.fingerprint import fingerprint
from boldvision.hdf5 import write_text
from boldvision.trials.windows import AveragedWindows, Windows, load_windows


class ReconstructionSettings(Settings):
    """What `--settings` of reconstruction says."""

    windows: dict[str, config.Window]
    trials: Literal["one_repetition", "all", "averaged"]
    data_seed: int


def reconstruct(
    decoder: Decoder, windows: Windows | AveragedWindows, subject: str, batch_size: int, out: Path
) -> int:
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

    Returns
    -------
    int
        How many pictures are of a single colour.

    Raises
    ------
    UserError
        All of them are, or a window is not finite; nothing was written.
    """
    trials = windows.trials
    keys = np.where(trials["trial"] < 0, -trials["image_id"], trials["trial"])
    constant = 0
    with atomic(out) as part, h5py.File(part, "w") as file:
        for start in range(0, len(windows), batch_size):
            batch = slice(start, min(start + batch_size, len(windows)))
            bold = read_finite(windows, batch, subject)
            pictures = decoder.reconstruct(bold, subject, keys[batch].tolist())
            constant += count_constant(pictures)
            if "images" not in file:
                shape = (len(windows), *pictures.shape[1:])
                file.create_dataset("images", shape, np.uint8, track_times=False)
            file["images"][batch] = pictures
        _describe(file, windows, decoder.label)
        if constant == len(windows):
            raise UserError(
                f"{out}: expected pictures, found that all {constant} are of a single colour each; "
                "they were not kept. Look at the losses in training.json of the model, at "
                "`reconstruction` of the run, and at the generator; then train the model anew."
            )
    return constant


def _describe(file: h5py.File, windows: Windows | AveragedWindows, label: str) -> None:
    for name in ("trial", "image_id"):
        values = windows.trials[name].to_numpy(np.int64)
        file.create_dataset(name, data=values, track_times=False)
    file.attrs["dropped"] = windows.dropped
    write_text(file, "label", label)


def count_constant(pictures: np.ndarray) -> int:
    """How many pictures, uint8 [B, H, W, 3], are of a single colour."""
    return int((pictures == pictures[:, :1, :1]).all(axis=(1, 2, 3)).sum())


def main(argv: list[str]) -> None:
    """Stage `reconstruct`: one file per test window in folder ``--out``.

    Finished windows wait in ``<out>.partial`` until all are there, so a killed job goes on, if the
    model, the seed, all settings and the code are the same. One job at a time works on ``--out``.
    """
    parser = argparse.ArgumentParser(prog="boldvision reconstruct", description=__doc__)
    add_data_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    work = arguments.out.with_name(f"{arguments.out.name}.partial")
    with only_job(arguments.out):
        _reconstruct_all(arguments, work)
        shutil.rmtree(work)


def _reconstruct_all(arguments: argparse.Namespace, work: Path) -> None:
    given = settings_from(arguments.settings)
    settings = ReconstructionSettings.model_validate(given)
    run = plugins.run_settings(settings.run)
    (data,) = read_data(arguments.data, settings.preprocessing)
    read_model_record(arguments.model)
    known = sha256(arguments.model / MODEL)
    model = Trained(run, arguments.model, settings.generators, data, arguments.seed, best_device())
    decoder = plugins.defined("decoders", run.decoder, "decoder", "load")(model)
    code = fingerprint(__name__, f"boldvision.decoders.{run.decoder}.decoder")
    targets = run.target_names() if "targets" in run.reads else ()
    data_known = [data.name, data.contents(), target_digests(targets, [data])]
    partial = work / digest(given, data_known, arguments.seed, known, code)
    for name, window in settings.windows.items():
        target = partial / f"{name}.h5"
        if target.exists():
            continue
        windows = load_windows(
            data.bold,
            data.trials,
            window,
            data.preprocessing,
            run.split,
            "test",
            settings.trials,
            settings.data_seed,
        )
        constant = reconstruct(decoder, windows, data.name, run.reconstruction.batch_size, target)
        print(
            f"{name}: {len(windows)} windows, {windows.dropped} dropped, {constant} pictures of a "
            "single colour",
            flush=True,
        )
    replace_folder(partial, arguments.out)
