"""The scorecard: our numbers of tables 1 and 6 beside the published ones."""

from boldvision.report import results, scorecard
from boldvision.report.log import logged


def main(snakemake):
    """Write the scorecard as CSV and HTML."""
    params = snakemake.params
    frame = scorecard.scorecard(
        results.read(params.rows), params.dataset, params.simulated, params.seed
    )
    scorecard.write(frame, csv=snakemake.output.csv, html=snakemake.output.html)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
