"""Stage `network`: fetch the files of a published network, check them, and convert them.

Only what :func:`converted` of the network's kind makes of them remains; nothing is unpickled.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

from boldvision import plugins, trust
from boldvision.cli import settings_from
from boldvision.config.section import Name, Section, Word
from boldvision.errors import UserError
from boldvision.files import only_job, reading, replace_folder, sha256
from boldvision.networks.settings import File
from boldvision.transfer import download

SETTING = "`files` of the network"
"""What an address comes from."""

REMAIN = {".safetensors", ".json", ".txt"}
"""Kinds of files that a network is read from: none of them can hold code."""


class Settings(Section):
    """What `--settings` of the stage says."""

    kind: Name
    files: dict[Word, File]


def fetch(kind: str, files: Mapping[str, File], out: Path) -> None:
    """Write folder `out`: a network as it is read, and ``ledger.tsv`` with what was downloaded.

    Files wait in ``<out>.partial`` until all are there, so a killed download goes on. Those without
    a published digest are trusted as soon as they could be converted: ``trusted.tsv`` beside `out`
    holds their digests. A web page in place of one is so fetched anew by the next call.

    Parameters
    ----------
    kind : str
        A package of boldvision.networks.
    files : dict of str to File
        What is published, by name.
    out : Path
        Folder; replaced if it exists.

    Raises
    ------
    UserError
        A server does not answer or refuses, or a file is not the one that it should be, or no
        network of that kind.
    """
    partial = out.with_name(f"{out.name}.partial")
    made = partial / ".converted"
    convert = plugins.defined("networks", kind, "keys", "converted")
    with only_job(out):
        ledger, trusted = ["file\turl\tbytes\tsha256"], {}
        for name, file in files.items():
            expected = file.sha256 or trust.digest(out.parent, f"{out.name}/{name}", file.url)
            found = _fetch_file(name, file, expected, partial, out)
            size = (partial / name).stat().st_size
            ledger.append(f"{name}\t{file.url}\t{size}\t{found}")
            if not expected:
                trusted[name] = found
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        with reading(out, f"files of a network of kind {kind}", f"correct {SETTING}"):
            convert({name: partial / name for name in files}, made)
            _require_no_code(made)
        for name, found in trusted.items():
            trust.remember(out.parent, f"{out.name}/{name}", found, files[name].url)
        (made / "ledger.tsv").write_text("\n".join(ledger) + "\n")
        replace_folder(made, out)
        shutil.rmtree(partial)


def _fetch_file(name: str, file: File, expected: str, partial: Path, out: Path) -> str:
    """Bring one file to the partial folder, unless the right one is there; its digest."""
    path = partial / name
    if expected and path.is_file() and sha256(path) == expected:
        return expected
    part = download(file.url, path, SETTING)
    found = sha256(part)
    if expected and found != expected:
        part.unlink()
        who, remedy = "the configuration", f"correct {SETTING}"
        if not file.sha256:
            who, remedy = "trust at first sight", f"delete its line in {out.parent / trust.LEDGER}"
        raise UserError(
            f"{file.url}: expected sha256 {expected} (by {who}), found {found}; the file was "
            f"removed. Run again or, if another has been published, {remedy}."
        )
    part.replace(path)
    return found


def _require_no_code(folder: Path) -> None:
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    if not kinds or kinds - REMAIN:
        raise ValueError(f"files {sorted(kinds)} in place of {sorted(REMAIN)} once converted")


def main(argv: list[str]) -> None:
    """Stage `network`."""
    parser = argparse.ArgumentParser(prog="boldvision network", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON: `kind` and `files` of a network")
    parser.add_argument("--out", type=Path, required=True, help="folder of the network")
    arguments = parser.parse_args(argv)
    settings = Settings.model_validate(settings_from(arguments.settings))
    fetch(settings.kind, settings.files, arguments.out)
