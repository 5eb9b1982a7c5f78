"""Temporal generalization: every training window by every test window."""

from boldvision.report import results, style
from boldvision.report.log import logged
from boldvision.report.temporal_generalization import temporal_generalization


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    evaluations = results.read(params.rows)
    note = results.note(evaluations, params.dataset, params.simulated, params.split)
    figure = temporal_generalization(evaluations, params.metrics, params.windows, note)
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
