"""Figure 4: reconstructions from moving windows, below the images that were shown."""

import pandas as pd

from boldvision.report import results, style
from boldvision.report.figure_4 import cells, choose, figure_4, reconstructed_trials
from boldvision.report.log import logged


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    [trials], [stimuli] = snakemake.input.trials, snakemake.input.stimuli
    evaluations = results.read(params.rows)
    rows = cells(params.rows, params.shifts)
    moments = choose(pd.read_parquet(trials), reconstructed_trials(rows), params.trials)
    figure = figure_4(
        rows,
        moments,
        stimuli=stimuli,
        training_window=next(e.window for e in evaluations if e.row == "General"),
        windows=params.windows,
        blur=params.blur_faces,
        note=results.note(evaluations, params.dataset, params.simulated, params.split),
    )
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
