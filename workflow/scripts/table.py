"""A table of the paper, our rows beside the published ones."""

from boldvision.report import formats, layout, results, tables
from boldvision.report.log import logged


def main(snakemake):
    """Write the table as CSV, Markdown and LaTeX."""
    number, params, out = int(snakemake.wildcards.number), snakemake.params, snakemake.output
    counted = tables.TABLES[number].parameters
    frame = tables.table(
        number,
        results.read(params.rows),
        params.dataset,
        params.simulated,
        trained=tables.trained_parameters(params.rows) if counted else None,
    )
    formats.write(frame, layout.sheet(frame), csv=out.csv, markdown=out.md, latex=out.tex)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
