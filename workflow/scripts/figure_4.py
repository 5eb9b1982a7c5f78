"""Figure 4: reconstructions from moving windows, below the images that were shown."""

from boldvision.report import results, style
from boldvision.report.curves import origin
from boldvision.report.figure_4 import cells, choose, figure_4, reconstructed_trials
from boldvision.report.log import logged
from boldvision.report.times import Timing, one_period
from boldvision.trials.table import read_trials


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    [trials], [stimuli] = snakemake.input.trials, snakemake.input.stimuli
    evaluations = results.read(params.rows)
    timing = Timing(**params.timing)
    rows = cells(params.rows, params.shifts)
    moments = choose(read_trials(trials), reconstructed_trials(rows), params.trials, timing.trial_s)
    figure = figure_4(
        rows,
        moments,
        stimuli=stimuli,
        training_window=origin(evaluations),
        windows=params.windows,
        tr_s=one_period(evaluations),
        timing=timing,
        blur=params.blur_faces,
        note=results.note(evaluations, params.dataset, params.simulated, params.split),
    )
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
