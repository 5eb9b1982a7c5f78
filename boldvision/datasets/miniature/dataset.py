"""The miniature: NSD's bucket in small, simulated and served, with a known answer."""

from __future__ import annotations

from shlex import join
from typing import Any

from boldvision.config import S3, Config
from boldvision.datasets.base import Dataset
from boldvision.datasets.miniature.known_answer import CHECKED
from boldvision.datasets.nsd.dataset import Nsd


class Miniature(Nsd):
    """As NSD, but nobody's terms have to be accepted, and a server on loopback is the bucket."""

    checked: tuple[str, ...] = CHECKED

    def check(self, config: Config) -> None:
        """Subjects and windows are as NSD's; the bucket may be served."""
        self.check_design(config)

    def source(self, config: Config) -> dict[str, Any]:
        """The bucket or a copy of it; simulated data have no terms."""
        return {"s3": config.s3, "raw": config.raw}

    def served(self, s3: S3, *prefixes: str) -> str:
        """Serve the simulated bucket around the command.

        Rules insert it as it is, so every word is quoted here; a prefix may hold wildcards.
        """
        if s3.serve is None:
            return ""
        words = ["serve", s3.serve, "--bucket", s3.bucket, "--prefix", *prefixes, "--"]
        return f"python -m boldvision {join(words)}"

    def endpoint(self, s3: S3) -> list[str]:
        """Where the stage `serve` puts the address of its server."""
        return ["--endpoint", "{endpoint}"] if s3.serve else []


MINIATURE: Dataset = Miniature()
