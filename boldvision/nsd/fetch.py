"""Download what one stage needs from the bucket: ``python -m boldvision fetch PART …``.

Nothing moves before the terms are accepted, the sizes are known and the disk has room. Every object
is resumed after an interruption, checked, and recorded in a ledger.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
from pydantic import ValidationError

from boldvision.cli import settings_from
from boldvision.config import S3, Design, Section, Subject
from boldvision.errors import UserError
from boldvision.files import replace_folder
from boldvision.nsd import keys
from boldvision.nsd.download import Entry, download, link, raw_file, write_ledger
from boldvision.nsd.rawdata import dereference, fmriprep_keys
from boldvision.nsd.runs import file_runs, task_file_runs


class Settings(Section):
    """The part of the configuration that a download depends on."""

    s3: S3 = S3()
    nsd_terms_accepted: bool = False
    raw: str | None = None
    design: Design = Design()
    subject: Subject | None = None


def fetch_experiment(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the experiment's design and the table of its images."""
    return _files(settings, {key: args.root / key for key in (keys.expdesign(), keys.stim_info())})


def fetch_subject(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch a subject's region of interest, brain mask, behaviour and the designs of all runs."""
    name, subject = args.subject, _subject(settings)
    single = [keys.roi(name), keys.brainmask(name), keys.responses(name)]
    designs = [
        keys.design(name, session, run)
        for session in range(1, subject.sessions + 1)
        for run in file_runs(subject, session)
    ]
    folder = args.root / keys.design_folder(name)
    targets = {key: args.root / key for key in single} | _within(_partial(folder), designs)
    entries = _files(settings, targets)
    replace_folder(_partial(folder), folder)
    return entries


def fetch_session(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the BOLD of the task runs of a session."""
    runs = task_file_runs(_subject(settings), args.session)
    series = [keys.timeseries(args.subject, args.session, run) for run in runs]
    entries = _files(settings, _within(_partial(args.out), series))
    replace_folder(_partial(args.out), args.out)
    return entries


def fetch_betas(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the single-trial betas of a session."""
    file_runs(_subject(settings), args.session)  # the session exists
    key = keys.betas(args.subject, args.session, args.kind, args.file)
    entries = _files(settings, _within(_partial(args.out), [key]))
    replace_folder(_partial(args.out), args.out)
    return entries


def fetch_images(settings: Settings, args: argparse.Namespace) -> list[Entry]:
    """Fetch the images that a subject saw; the experiment must be there."""
    from boldvision.nsd import stimuli
    from boldvision.nsd.design import image_sequence, read_experiment_design
    from boldvision.nsd.integrity import sha256

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
        source = raw_file(settings.raw, keys.stimuli())
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
    replace_folder(folder, args.out)
    return entries


PARTS = {
    "experiment": fetch_experiment,
    "subject": fetch_subject,
    "session": fetch_session,
    "betas": fetch_betas,
    "images": fetch_images,
    "rawdata": fetch_rawdata,
}


def main(argv: list[str] | None = None) -> int:
    """Fetch one part and write its ledger."""
    args = _parser().parse_args(argv)
    try:
        given = settings_from(args.settings) | settings_from(args.source)
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise UserError(f"--settings: {error}") from None
    if args.endpoint:
        s3 = settings.s3.model_copy(update={"endpoint": args.endpoint})
        settings = settings.model_copy(update={"s3": s3})
    write_ledger(args.ledger, PARTS[args.part](settings, args))
    return 0


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
        part.add_argument("--source", default="{}", help="more keys of --settings: where from")
        part.add_argument("--root", type=Path, required=True, help="folder with the bucket's keys")
        part.add_argument("--ledger", type=Path, required=True, help="record of what was fetched")
        part.add_argument("--endpoint", help="address of the server, in place of s3.endpoint")
        if name != "experiment":
            part.add_argument("--subject", required=True, help="as in the bucket: subj01")
        if name in ("session", "betas"):
            part.add_argument("--session", type=int, required=True, help="1-based")
            part.add_argument("--out", type=Path, required=True, help="folder of the session")
        if name == "rawdata":
            part.add_argument("--out", type=Path, required=True, help="folder of the dataset")
        if name == "betas":
            part.add_argument("--kind", required=True, help="folder of the bucket, betas_…")
            part.add_argument("--file", required=True, choices=["nii.gz", "hdf5"])
    return parser


def _subject(settings: Settings) -> Subject:
    if settings.subject is None:
        raise UserError("--settings: expected the key `subject`, an entry of `subjects`")
    return settings.subject


def _bucket(settings: Settings):
    from boldvision.nsd.s3 import Bucket

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
    raw = Path(settings.raw).expanduser()
    found = (raw / folder).glob("**/*" if below else "*")
    return [path.relative_to(raw).as_posix() for path in found if path.is_file()]


def _shared_images(settings: Settings, shared_ids: np.ndarray, seen: np.ndarray) -> dict[int, str]:
    """Keys of the first, the middle and the last image that is shared and seen, by image_id.

    An existing copy of the bucket often lacks these files: then nothing is compared.
    """
    numbers = (np.flatnonzero(np.isin(shared_ids, seen)) + 1).tolist()
    chosen = {numbers[i] for i in (0, len(numbers) // 2, -1)}
    wanted = {int(shared_ids[n - 1]): keys.shared_image(n, shared_ids[n - 1]) for n in chosen}
    if settings.raw is not None:
        raw = Path(settings.raw).expanduser()
        wanted = {image_id: key for image_id, key in wanted.items() if (raw / key).is_file()}
    print(f"shared images to compare with the stimulus file: {len(wanted)}", flush=True)
    return wanted


def _within(folder: Path, wanted: list[str]) -> dict[str, Path]:
    return {key: folder / Path(key).name for key in wanted}


def _partial(folder: Path) -> Path:
    """Where a folder grows; it gets its name when it is complete."""
    return folder.with_name(f"{folder.name}.partial")
