"""Reconstruct the images of a test set with a trained decoder."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
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
from boldvision.hdf5 import LATENTS, write_text
from boldvision.memory import enough_memory, reconstruction_remedy
from boldvision.trials.windows import AveragedWindows, Windows, load_windows


class ReconstructionSettings(Settings):
    """What `--settings` of reconstruction says."""

    windows: dict[str, config.Window]
    trials: Literal["one_repetition", "all", "averaged"]
    trials_at_most: int | None = None
    stored: Literal["pictures", "latents"] = "pictures"
    data_seed: int | None = None


def reconstruct(
    decoder: Decoder,
    windows: Windows | AveragedWindows,
    subject: str,
    batch_size: int,
    out: Path,
    stored: Literal["pictures", "latents"] = "pictures",
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
        As `stored`, ``images`` uint8 [N, H, W, 3] or ``latents`` float16 [N, C, h, w];
        ``trial``, ``image_id`` int64 [N]; attributes ``dropped`` and ``label``.

    Returns
    -------
    int
        How many pictures are of a single colour; of latents, the stage `evaluate` counts them.

    Raises
    ------
    UserError
        All of them are, or a window or a latent is not finite; nothing was written.
    """
    trials = windows.trials
    keys = np.where(trials["trial"] < 0, -trials["image_id"], trials["trial"])
    batches = [slice(start, start + batch_size) for start in range(0, len(windows), batch_size)]
    constant = 0
    _show_all(decoder, windows, batches, subject)
    with atomic(out) as part, h5py.File(part, "w") as file:
        for batch in batches:
            bold = read_finite(windows, batch, subject)
            if stored == "latents":
                made = _latents(decoder, bold, subject, keys[batch].tolist())
            else:
                made = decoder.reconstruct(bold, subject, keys[batch].tolist())
                constant += count_constant(made)
            _write(file, len(windows), batch, made)
        _describe(file, windows, decoder.label)
        if constant == len(windows):
            raise _without_content(out, constant)
    return constant


def _show_all(
    decoder: Decoder, windows: Windows | AveragedWindows, batches: list[slice], subject: str
) -> None:
    """Of a :class:`boldvision.decoders.base.TransductiveDecoder`, let it look at them."""
    if hasattr(decoder, "look_at"):
        decoder.look_at((read_finite(windows, batch, subject) for batch in batches), subject)


def _without_content(out: Path, constant: int) -> UserError:
    return UserError(
        f"{out}: expected pictures, found that all {constant} are of a single colour each; "
        "they were not kept. Look at the losses in training.json of the model, at "
        "`reconstruction` of the run, and at the generator; then train the model anew."
    )


def _write(file: h5py.File, count: int, batch: slice, made: np.ndarray) -> None:
    """Pictures, or else latents."""
    name = "images" if made.dtype == np.uint8 else LATENTS
    if name not in file:
        file.create_dataset(name, (count, *made.shape[1:]), made.dtype, track_times=False)
    file[name][batch] = made


def _latents(decoder: Decoder, bold: np.ndarray, subject: str, keys: Sequence[int]) -> np.ndarray:
    """Latents as they are stored, float16 [B, C, h, w]."""
    if not hasattr(decoder, "latents"):
        raise UserError(
            f"decoder {type(decoder).__name__}: expected a method latents, since its runs name a "
            "`latent_generator`, found none; add it (CONTRIBUTING.md), or ask for "
            "`stored: pictures` in `test_sets`"
        )
    with np.errstate(over="ignore"):
        found = np.asarray(decoder.latents(bold, subject, keys)).astype(np.float16)
    if not np.isfinite(found).all():
        raise UserError(
            f"{subject}: expected finite latents of less than 65,504, found others. Look at the "
            "losses in training.json of the model, or set `stored: pictures` in `test_sets`."
        )
    return found


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
    model = Trained(
        run,
        arguments.model,
        settings.generators,
        settings.network_settings(),
        data,
        arguments.seed,
        best_device(),
    )
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
            data.split,
            window,
            data.preprocessing,
            "test",
            settings.trials,
            settings.data_seed or 0,
            at_most=settings.trials_at_most,
        )
        batch_size, stored = run.reconstruction.batch_size, settings.stored
        with enough_memory(reconstruction_remedy(run)):
            constant = reconstruct(decoder, windows, data.name, batch_size, target, stored)
        found = f"{constant} pictures of a single colour" if stored == "pictures" else "as latents"
        print(f"{name}: {len(windows)} windows, {windows.dropped} dropped, {found}", flush=True)
    replace_folder(partial, arguments.out)
