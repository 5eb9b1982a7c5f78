"""Differences between our rows of the tables, image by image."""

from boldvision.report import differences, formats, results
from boldvision.report.log import logged


def main(snakemake):
    """Write the differences as CSV, Markdown and LaTeX."""
    params, out = snakemake.params, snakemake.output
    evaluations = {
        int(name.removeprefix("table_")): results.read(rows) for name, rows in params.tables.items()
    }
    frame = differences.differences(evaluations, params.dataset, params.simulated, params.seed)
    formats.write(frame, differences.sheet(frame), csv=out.csv, markdown=out.md, latex=out.tex)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
