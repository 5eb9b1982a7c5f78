"""Download what one stage needs from the bucket: ``python -m boldvision fetch PART …``.

Nothing moves before the terms are accepted, the sizes are known and the disk has room. Every object
is resumed after an interruption, checked, and recorded in a ledger.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from boldvision.cli import settings_from
from boldvision.config import S3, Coco, Design, Section, Subject
from boldvision.datasets.nsd import keys
from boldvision.datasets.nsd.download import Entry, download, write_ledger
from boldvision.datasets.nsd.raw import has_file, link, list_raw, raw_files, raw_path, require_apart
from boldvision.datasets.nsd.rawdata import dereference, fmriprep_keys
from boldvision.datasets.nsd.runs import file_runs, task_file_runs
from boldvision.errors import UserError
from boldvision.files import only_job, replace_folder

COMPARED = 40
"""Shared images whose pixels the stimulus file must have: in NSD 12 MB, 300 kB each."""


class Settings(Section):
    """The part of the configuration that a download depends on."""

    s3: S3 = S3()
    coco: Coco = Coco()
    nsd_terms_accepted: bool = False
    raw: str | None = None
    design: Design = Design()
    subject: Subject | None = None


def fetch_experiment(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the experiment's design."""
    return _files(settings, {keys.expdesign(): args.root / keys.expdesign()})


def fetch_stimulus_table(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the table of all images, which tells their numbers in COCO."""
    return _files(settings, {keys.stim_info(): args.root / keys.stim_info()})


def fetch_annotations(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch COCO's annotations, among them captions of the images."""
    from boldvision.datasets.nsd.coco import fetch_archive

    return fetch_archive(settings.coco, args.out)


def fetch_subject(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch a subject's region of interest and the designs of all runs."""
    name, subject = args.subject, _subject(settings)
    designs = [
        keys.design(name, session, run)
        for session in range(1, subject.sessions + 1)
        for run in file_runs(subject, session)
    ]
    folder = args.root / keys.design_folder(name)
    roi = {keys.roi(name): args.root / keys.roi(name)}
    targets = _within(_partial(folder), designs)
    entries = _files(settings, roi | targets)
    _complete(folder, targets)
    return entries


def fetch_session(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the BOLD of the task runs of a session."""
    runs = task_file_runs(_subject(settings), args.session)
    series = [keys.timeseries(args.subject, args.session, run) for run in runs]
    targets = _within(_partial(args.out), series)
    entries = _files(settings, targets)
    _complete(args.out, targets)
    return entries


def fetch_betas(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the single-trial betas of a session."""
    file_runs(_subject(settings), args.session)  # the session exists
    key = keys.betas(args.subject, args.session, args.kind, args.file)
    targets = _within(_partial(args.out), [key])
    entries = _files(settings, targets)
    _complete(args.out, targets)
    return entries


def fetch_images(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the images that a subject saw; the experiment must be there."""
    from boldvision.datasets.nsd import stimuli
    from boldvision.datasets.nsd.design import image_sequence, read_experiment_design
    from boldvision.files import sha256

    subject = _subject(settings)
    experiment = read_experiment_design(args.root / keys.expdesign(), settings.design)
    image_id = np.unique(image_sequence(experiment, subject.number, subject.sessions))
    out = args.root / "images" / f"{args.subject}.h5"
    folder = _partial(args.root / "images" / args.subject)
    shared = _shared_images(settings, experiment.shared_image_ids, image_id)
    known = {shared_id: folder / Path(key).name for shared_id, key in shared.items()}
    entries = _files(settings, {key: known[shared_id] for shared_id, key in shared.items()})
    if settings.raw is None:
        bucket = _bucket(settings)
        entries += stimuli.fetch_images(bucket, image_id, settings.design, out, known)
    else:
        [source] = raw_files(settings.raw, [keys.stimuli()]).values()
        stimuli.copy_images(source, image_id, settings.design, out, known)
        key = f"{keys.stimuli()}#{args.subject}"
        entries.append(Entry(key, out.stat().st_size, "", "", sha256(out)))
    shutil.rmtree(folder, ignore_errors=True)
    return entries


def fetch_rawdata(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch what fMRIPrep needs of a subject's raw data: a BIDS dataset of its own."""
    subject = _subject(settings)
    listed = _listed(settings, keys.RAWDATA, below=False)
    listed += _listed(settings, keys.raw_subject(subject.number))
    wanted = fmriprep_keys(listed, subject)
    folder = _partial(args.out)
    targets = {key: folder / key.removeprefix(keys.RAWDATA) for key in wanted}
    entries = _files(settings, targets)
    for target in targets.values():
        dereference(target)
    _complete(args.out, targets)
    return entries


PARTS = {
    "experiment": fetch_experiment,
    "stimulus_table": fetch_stimulus_table,
    "annotations": fetch_annotations,
    "subject": fetch_subject,
    "session": fetch_session,
    "betas": fetch_betas,
    "images": fetch_images,
    "rawdata": fetch_rawdata,
}


def main(argv: list[str] | None = None) -> int:
    """Fetch one part and write its ledger."""
    args = _parser().parse_args(argv)
    given = settings_from(args.settings) | settings_from(args.source)
    settings = Settings.model_validate(given)
    if args.endpoint:
        where = "coco" if args.part == "annotations" else "s3"
        given.setdefault(where, {})["endpoint"] = args.endpoint
        settings = Settings.model_validate(given)
    place = _place(args)
    if settings.raw is not None:
        require_apart(settings.raw, args.root, place, args.ledger)
    with only_job(place), _interruptible():
        write_ledger(args.ledger, PARTS[args.part](settings, args))
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt end this process at once, as SIGTERM does: what came is kept.

    As an exception it would wait for threads that wait for the network, for minutes.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or handler is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m boldvision fetch", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, function in PARTS.items():
        part = parts.add_parser(name, help=function.__doc__, description=function.__doc__)
        part.add_argument(
            "--settings",
            required=True,
            help=f"JSON, or a JSON file, with the keys {', '.join(Settings.model_fields)}",
        )
        part.add_argument("--source", default="{}", help="where from, over --settings")
        part.add_argument("--root", type=Path, required=True, help="folder with the bucket's keys")
        part.add_argument("--ledger", type=Path, required=True, help="record of what was fetched")
        part.add_argument("--endpoint", help="address of the server, in place of s3.endpoint")
        if name not in ("experiment", "stimulus_table", "annotations"):
            part.add_argument("--subject", required=True, help="as in the bucket: subj01")
        if name in ("session", "betas"):
            part.add_argument("--session", type=int, required=True, help="1-based")
            part.add_argument("--out", type=Path, required=True, help="folder of the session")
        if name == "rawdata":
            part.add_argument("--out", type=Path, required=True, help="folder of the dataset")
        if name == "annotations":
            part.add_argument("--out", type=Path, required=True, help="the archive")
        if name == "betas":
            part.add_argument("--kind", required=True, help="folder of the bucket, betas_…")
            part.add_argument("--file", required=True, choices=["nii.gz", "hdf5"])
    return parser


def _subject(settings: Settings) -> Subject:
    if settings.subject is None:
        raise UserError("--settings: expected the key `subject`, an entry of `subjects`")
    return settings.subject


def _bucket(settings: Settings):
    from boldvision.datasets.nsd.s3 import Bucket

    host = urlparse(settings.s3.endpoint or "https://s3.amazonaws.com").hostname or ""
    if host.endswith("amazonaws.com") and not settings.nsd_terms_accepted:
        raise UserError(
            "the terms of the Natural Scenes Dataset are not accepted: sign the NSD Data Access "
            "Agreement at naturalscenesdataset.org, then set `nsd_terms_accepted: true` in the "
            "configuration"
        )
    return Bucket(settings.s3)


def _files(settings: Settings, targets: dict[str, Path]) -> list[Entry]:
    if settings.raw is not None:
        return link(settings.raw, targets)
    return download(_bucket(settings), targets)


def _listed(settings: Settings, folder: str, below: bool = True) -> list[str]:
    """Keys in a folder of the bucket or of an existing copy of it."""
    if settings.raw is None:
        return _bucket(settings).keys(folder, below)
    return list_raw(settings.raw, folder, below)


def _shared_images(settings: Settings, shared_ids: np.ndarray, seen: np.ndarray) -> dict[int, str]:
    """Keys of images that are shared and seen, from the first to the last, by image_id.

    An existing copy of the bucket often lacks these files: then nothing is compared.
    """
    numbers = (np.flatnonzero(np.isin(shared_ids, seen)) + 1).tolist()
    spread = np.linspace(0, len(numbers) - 1, min(COMPARED, len(numbers))).round().astype(int)
    chosen = [numbers[i] for i in spread]
    wanted = {int(shared_ids[n - 1]): keys.shared_image(n, shared_ids[n - 1]) for n in chosen}
    if settings.raw is not None:
        places = {image_id: raw_path(settings.raw, key) for image_id, key in wanted.items()}
        wanted = {image_id: wanted[image_id] for image_id in wanted if has_file(places[image_id])}
    print(f"shared images to compare with the stimulus file: {len(wanted)}", flush=True)
    return wanted


def _place(args: argparse.Namespace) -> Path:
    """What a part makes, or the chief of it: this names the lock."""
    if args.part == "experiment":
        return args.root / keys.expdesign()
    if args.part == "stimulus_table":
        return args.root / keys.stim_info()
    if args.part == "subject":
        return args.root / keys.design_folder(args.subject)
    return args.root / "images" / f"{args.subject}.h5" if args.part == "images" else args.out


def _within(folder: Path, wanted: list[str]) -> dict[str, Path]:
    return {key: folder / Path(key).name for key in wanted}


def _partial(folder: Path) -> Path:
    """Where a folder grows; it gets its name when it is complete."""
    return folder.with_name(f"{folder.name}.partial")


def _complete(folder: Path, targets: dict[str, Path]) -> None:
    """Give a folder its name, without what a fetch of another configuration left in it."""
    wanted = set(targets.values())
    for above, folders, files in os.walk(_partial(folder), topdown=False):
        for path in (Path(above, name) for name in files + folders):
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):  # it holds what is wanted
                    path.rmdir()
            elif path not in wanted:
                path.unlink()
    replace_folder(_partial(folder), folder)
