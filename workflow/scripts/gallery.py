"""The gallery: a page on which reconstructions are looked at, window by window."""

from boldvision.report.gallery.page import GalleryPage
from boldvision.report.log import logged
from boldvision.report.times import Timing


def main(snakemake):
    """Write the page and its pictures as a folder."""
    params = snakemake.params
    page = GalleryPage(
        params.rows,
        **params.gallery,
        windows=params.windows,
        timing=Timing(**params.timing),
        dataset=params.dataset,
        simulated=params.simulated,
        blur=params.blur_faces,
    )
    page.write(snakemake.output[0])


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
