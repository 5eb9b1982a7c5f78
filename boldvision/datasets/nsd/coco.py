"""COCO's archive of annotations, fetched from COCO's own bucket."""

from __future__ import annotations

from pathlib import Path

from boldvision.config import Coco
from boldvision.datasets.nsd.annotations import ARCHIVE
from boldvision.datasets.nsd.download import Entry, download
from boldvision.datasets.nsd.s3 import Bucket
from boldvision.errors import UserError


def fetch_archive(coco: Coco, out: Path) -> list[Entry]:
    """Fetch the archive; what an earlier, interrupted call fetched is kept.

    Raises
    ------
    UserError
        The server does not answer, or the archive is not the one of the configuration.
    """
    try:
        [entry] = download(Bucket(coco), {ARCHIVE: out})
    except UserError as error:  # a bucket speaks of the section `s3`
        raise UserError(str(error).replace("`s3", "`coco")) from error
    if coco.sha256 not in (None, entry.sha256):
        out.unlink()
        raise UserError(
            f"{out}: expected sha256 {coco.sha256}, found {entry.sha256}; it was removed: run "
            "again to fetch it anew, or correct `coco.sha256`"
        )
    return [entry]
