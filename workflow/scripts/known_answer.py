"""The known answer of the miniature: checked, printed and written; fails where it is missed."""

import json
from pathlib import Path

from boldvision.datasets.miniature.known_answer import checks, finding
from boldvision.files import atomic
from boldvision.report.log import logged


def main(snakemake):
    """Make every check of the scope and write ``known_answer.json``."""
    params = snakemake.params
    truth = json.loads((Path(snakemake.input.truth) / "truth.json").read_text())
    record = finding.conclude(checks.findings(params.checked, params.windows, truth, params.seed))
    with atomic(snakemake.output[0]) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
