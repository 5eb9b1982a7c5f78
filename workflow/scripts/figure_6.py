"""Figure 6: metrics over the duration of the window."""

from boldvision.report import results, style
from boldvision.report.figure_6 import figure_6
from boldvision.report.log import logged


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    evaluations = results.read(params.rows)
    note = results.note(evaluations, params.dataset, params.simulated)
    figure = figure_6(evaluations, params.metrics, params.windows, note)
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
