"""Figures 7 and 8: the best and the worst reconstructions."""

from boldvision.report import results, style
from boldvision.report.figure_7_8 import BEST, WORST, figure_7_8
from boldvision.report.log import logged
from boldvision.report.ranked_pictures import RankedPictures


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    end = {"7": BEST, "8": WORST}[snakemake.wildcards.number]
    note = results.data_note(results.read(params.rows), params.dataset, params.simulated)
    shown = RankedPictures(params.rows, params.metric, params.images, params.blur_faces, note)
    figure = figure_7_8(shown, end)
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
