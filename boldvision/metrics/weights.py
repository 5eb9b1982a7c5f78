"""Weights of the metrics' networks: where they come from and how they are checked.

Run the stage once on a machine with network access; every other stage then works offline.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from boldvision.cli import settings_from
from boldvision.config import Metrics, Network
from boldvision.errors import UserError
from boldvision.files import atomic, only_job
from boldvision.metrics import dreamsim, trust
from boldvision.metrics.pins import checked, expected, parse, sha256_of
from boldvision.metrics.transfer import download


def provenance(network: Network, *, protocol: str, folder: str | Path) -> str:
    """Who vouches for the weights of a network, in words; empty for random weights."""
    if not parse(network.weights).pretrained:
        return ""
    if network.name == dreamsim.NAME:
        wanted = dreamsim.expected(parse(network.weights), Path(folder))
    else:
        wanted = expected(network, protocol=protocol, folder=folder)
    return f"sha256 {wanted.sha256} by {wanted.known}"


def locate(network: Network, *, protocol: str, folder: str | Path) -> tuple[Path, str]:
    """Find and check the pretrained weights of a network.

    Returns
    -------
    path : Path
    sha256 : str

    Raises
    ------
    UserError
        The file is missing, or not the one that is pinned.
    """
    wanted = expected(network, protocol=protocol, folder=folder)
    if not wanted.path.exists():
        raise UserError(
            f"{wanted.path}: expected the weights of {network.name}, found no such file. Run the "
            "stage `weights` where there is a network (python -m boldvision weights --settings …), "
            "or set `weights: random` (labelled as such)."
        )
    if not wanted.sha256:
        raise UserError(
            f"{wanted.path}: expected a file that the stage `weights` has fetched or seen, found "
            "no record of it. Run that stage (python -m boldvision weights --settings …): it "
            "records the digest, which then holds."
        )
    return wanted.path, checked(wanted.path, wanted)


def fetch(network: Network, *, protocol: str, folder: Path) -> list[Path]:
    """Put the weights of one network into `folder`, unless they are there or in a package.

    Returns
    -------
    list of Path
        Its files in `folder`.

    Raises
    ------
    UserError
        The download fails, or is not the file that is pinned.
    """
    if network.name == dreamsim.NAME:
        return dreamsim.fetch(parse(network.weights), folder)
    wanted = expected(network, protocol=protocol, folder=folder)
    if not wanted.url:
        checked(wanted.path, wanted)
        return []
    if wanted.path.exists():
        found = checked(wanted.path, wanted)
    else:
        part = download(wanted.url, wanted.path)
        try:
            found = checked(part, wanted)
        except UserError:
            part.unlink(missing_ok=True)
            raise
        part.replace(wanted.path)
    if not wanted.sha256:
        trust.remember(folder, wanted.path.relative_to(folder).as_posix(), found, wanted.url)
    return [wanted.path]


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
