"""Figure 3: decoders side by side on the same images."""

from boldvision.report import results, style
from boldvision.report.figure_3 import figure_3
from boldvision.report.log import logged
from boldvision.report.ranked_pictures import RankedPictures


def main(snakemake):
    """Draw the figure as PDF and PNG."""
    params = snakemake.params
    note = results.data_note(results.read(params.rows), params.dataset, params.simulated)
    shown = RankedPictures(params.rows, params.metric, params.images, params.blur_faces, note)
    figure = figure_3(shown)
    style.save(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
