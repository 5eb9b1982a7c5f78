"""Differences between our rows of the tables, image by image."""

from boldvision.report import all_tables, differences, formats
from boldvision.report.log import logged


def main(snakemake):
    """Write the differences as CSV, Markdown and LaTeX."""
    params, out = snakemake.params, snakemake.output
    tables = all_tables.read(params.tables, params.dataset, params.simulated, params.seed)
    frame = differences.differences(tables)
    formats.write(frame, differences.sheet(frame), csv=out.csv, markdown=out.md, latex=out.tex)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
