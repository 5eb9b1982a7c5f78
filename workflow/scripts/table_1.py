"""Table 1: mean over subjects, beside the published rows."""

from boldvision.report import formats, results, tables
from boldvision.report.log import logged

TITLE = "Table 1. Reconstruction of images from single trials, mean over subjects."


def main(snakemake):
    """Write the table as CSV, Markdown and LaTeX."""
    frame = tables.table_1(
        results.read(snakemake.params.rows), snakemake.params.dataset, snakemake.params.simulated
    )
    out = snakemake.output
    formats.write(frame, TITLE, csv=out.csv, markdown=out.md, latex=out.tex)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
