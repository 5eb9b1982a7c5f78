"""The `voxels` stage: which voxels of a subject's volumes are analysed."""

from __future__ import annotations

import argparse
from pathlib import Path

from boldvision.cli import settings_from
from boldvision.config import Subject
from boldvision.datasets.nsd.roi import read_roi


def main(argv: list[str]) -> None:
    """List the voxels of a region of interest."""
    parser = argparse.ArgumentParser(prog="boldvision voxels", description=__doc__)
    parser.add_argument("--roi", type=Path, required=True, help="NIfTI volume of labels")
    parser.add_argument("--settings", required=True, help="JSON with key `subject`")
    parser.add_argument("--out", type=Path, required=True, help=".npz: index, shape, affine")
    arguments = parser.parse_args(argv)

    subject = Subject(**settings_from(arguments.settings)["subject"])
    read_roi(arguments.roi, subject.voxels, subject.grid).save(arguments.out)
