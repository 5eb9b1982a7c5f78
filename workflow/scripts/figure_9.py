"""Figure 9: metrics over the number of training sessions."""

from boldvision.report import results, style
from boldvision.report.figure_9 import figure_9
from boldvision.report.log import logged


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    evaluations = results.read(params.rows)
    note = results.note(evaluations, params.dataset, params.simulated)
    figure = figure_9(evaluations, params.metrics, params.all_sessions, note)
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
