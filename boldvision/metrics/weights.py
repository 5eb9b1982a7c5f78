"""Weights of the metrics' networks: where they come from and how they are checked.

Run the stage once on a machine with network access; every other stage then works offline.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from boldvision import trust
from boldvision.cli import settings_from
from boldvision.config import Metrics, Network
from boldvision.errors import UserError
from boldvision.files import atomic, only_job
from boldvision.metrics import dreamsim
from boldvision.metrics.pins import Expected, checked, expected, parse, sha256_of, source_name
from boldvision.metrics.sources import SETTING
from boldvision.transfer import download


def provenance(network: Network, *, protocol: str, folder: str | Path) -> str:
    """Who vouches for the weights of a network, in words; empty for random weights."""
    if not parse(network.weights).pretrained:
        return ""
    wanted = expected(network, protocol=protocol, folder=folder)
    return f"sha256 {wanted.sha256} by {wanted.known}"


def identity(network: Network, *, protocol: str, folder: str | Path) -> str:
    """Name and weights of a network: what tells its features and scores from another's.

    The digest is the one that its file must have, so that nothing is read: `locate` refuses others.
    DreamSim is a package of its own: its version follows.
    """
    name = source_name(network.name, protocol)
    if not parse(network.weights).pretrained:
        return f"{name} random"
    found = f"{name} {expected(network, protocol=protocol, folder=folder).sha256}"
    return f"{found} {dreamsim.installed()}" if network.name == dreamsim.NAME else found


def locate(network: Network, *, protocol: str, folder: str | Path) -> Path:
    """Find and check the pretrained weights of a network.

    Returns
    -------
    Path
        A file; for `dreamsim` a folder.

    Raises
    ------
    UserError
        It is missing, or not what is pinned or was trusted.
    """
    wanted = expected(network, protocol=protocol, folder=folder)
    of_dreamsim = network.name == dreamsim.NAME
    files = dreamsim.files(wanted.path) if of_dreamsim else [wanted.path]
    if missing := [str(path) for path in files if not path.exists()]:
        raise UserError(
            f"{', '.join(missing)}: expected the weights of {network.name}, found no such file. "
            "Run the stage `weights` where there is a network (python -m boldvision weights "
            "--settings …), or name another network, labelled as such."
        )
    if not wanted.sha256:
        raise UserError(
            f"{wanted.path}: expected weights that the stage `weights` has fetched or seen, found "
            "no record of them. Run that stage (python -m boldvision weights --settings …): it "
            "records the digest, which then holds."
        )
    digest = dreamsim.digest if of_dreamsim else sha256_of
    checked(wanted.path, wanted, digest)
    return wanted.path


def fetch(network: Network, *, protocol: str, folder: Path) -> list[Path]:
    """Put the weights of one network into `folder`, unless they are there or in a package.

    Returns
    -------
    list of Path
        Its files in `folder`.

    Raises
    ------
    UserError
        The download fails, or is not what is pinned or was trusted.
    """
    wanted = expected(network, protocol=protocol, folder=folder)
    if network.name == dreamsim.NAME:
        files = dreamsim.fetch(wanted.url, wanted.path)
        found = checked(wanted.path, wanted, dreamsim.digest)
    else:
        files = [wanted.path] if wanted.url else []
        found = _fetch_file(wanted)
    if not wanted.sha256:
        trust.remember(folder, wanted.path.relative_to(folder).as_posix(), found, wanted.url)
    return files


def _fetch_file(wanted: Expected) -> str:
    if wanted.path.exists():
        return checked(wanted.path, wanted)
    part = download(wanted.url, wanted.path, SETTING)
    try:
        found = checked(part, wanted)
    except UserError:
        part.unlink(missing_ok=True)
        raise
    part.replace(wanted.path)
    return found


def fetch_all(networks: Iterable[Network], *, protocol: str, folder: Path, out: Path) -> None:
    """Fetch all pretrained weights to `folder` and list them in `out`: file, bytes, sha256.

    Raises
    ------
    UserError
        Some could not be fetched, or are not what is pinned; all of these are named, and the others
        are there.
    """
    files: set[Path] = set()
    faults: list[str] = []
    with only_job(folder):
        for network in networks:
            try:
                if parse(network.weights).pretrained:
                    files.update(fetch(network, protocol=protocol, folder=folder))
            except UserError as error:
                faults.append(str(error))
    if faults:
        raise UserError("\n".join(dict.fromkeys(faults)))
    with atomic(out) as part:
        lines = ["file\tbytes\tsha256"]
        for path in sorted(files):
            row = (path.relative_to(folder), path.stat().st_size, sha256_of(path))
            lines.append("\t".join(map(str, row)))
        part.write_text("\n".join(lines) + "\n")


def main(argv: list[str]) -> int:
    """Stage `weights`."""
    parser = argparse.ArgumentParser(prog="boldvision weights", description=__doc__)
    parser.add_argument("--settings", required=True, help="section `metrics`: JSON, or its path")
    parser.add_argument("--out", type=Path, required=True, help="list of the files, tab-separated")
    args = parser.parse_args(argv)
    given = settings_from(args.settings)
    given.pop("set", None)
    settings = Metrics(**given)
    folder = Path(settings.weights_folder)
    fetch_all(settings.networks.values(), protocol=settings.protocol, folder=folder, out=args.out)
    return 0
