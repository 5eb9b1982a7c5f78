"""The gallery: a page on which reconstructions are looked at, window by window."""

from boldvision.report.gallery import page
from boldvision.report.log import logged


def main(snakemake):
    """Write the page and its pictures as a folder."""
    params = snakemake.params
    page.write(
        params.rows,
        **params.gallery,
        windows=params.windows,
        dataset=params.dataset,
        simulated=params.simulated,
        blur=params.blur_faces,
        out=snakemake.output[0],
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
