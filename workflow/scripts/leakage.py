"""What leakage adds: the time-resolved splits, and their differences."""

from pathlib import Path

from boldvision.report import results, style
from boldvision.report.leakage import by_split, find_leaks, leakage
from boldvision.report.log import logged
from boldvision.report.times import Timing
from boldvision.trials.table import read_split, read_trials


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    trials = read_trials(snakemake.input.trials[0])
    splits = {Path(file).parent.name: read_split(file, trials) for file in snakemake.input.splits}
    evaluations = results.read(params.rows)
    figure = leakage(
        by_split(evaluations, params.rows),
        find_leaks(trials, splits),
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
