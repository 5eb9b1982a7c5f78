"""Figure 5: metrics over the time of the test window."""

from boldvision.report import results, style
from boldvision.report.figure_5 import figure_5
from boldvision.report.log import logged
from boldvision.report.times import Timing


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    evaluations = results.read(params.rows)
    note = results.note(evaluations, params.dataset, params.simulated, params.split)
    figure = figure_5(evaluations, params.metrics, params.windows, Timing(**params.timing), note)
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
