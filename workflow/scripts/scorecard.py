"""The scorecard: every published number of the scope's tables beside ours."""

from boldvision.report import all_tables, scorecard, scorecard_page
from boldvision.report.log import logged


def main(snakemake):
    """Write the scorecard as CSV and HTML."""
    params = snakemake.params
    tables = all_tables.read(params.tables, params.dataset, params.simulated, params.seed)
    frame = scorecard.scorecard(tables)
    scorecard_page.write(frame, csv=snakemake.output.csv, html=snakemake.output.html)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
