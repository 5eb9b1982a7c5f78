"""What leakage adds: the time-resolved splits, and their differences."""

from boldvision.report import results, style
from boldvision.report.leakage import SPLITS, by_split, find_leaks, leakage
from boldvision.report.log import logged
from boldvision.report.times import Timing
from boldvision.trials.table import read_trials


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    [trials] = snakemake.input.trials
    evaluations = results.read(params.rows)
    figure = leakage(
        by_split(evaluations, params.rows),
        find_leaks(read_trials(trials, *SPLITS)),
        params.metric,
        params.windows,
        Timing(**params.timing),
        samples=params.samples,
        seed=params.seed,
        note=results.note(evaluations, params.dataset, params.simulated),
    )
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
