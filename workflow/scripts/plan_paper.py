"""What the paper costs, printed before anything is run."""

from boldvision.config.load import load_config
from boldvision.estimate import write
from boldvision.plan import Plan
from boldvision.report.log import announce, logged


def main(snakemake):
    """Write the plan of the scope `paper` and print it."""
    announce(write(Plan(load_config(snakemake.params.config)), "paper"))


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
