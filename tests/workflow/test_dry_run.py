"""What would be run: for every configuration and target, how many jobs of each rule."""

import re
import time

import pytest

TARGETS = [
    *("all", "paper", "table_1", "table_6", "figure_4", "figure_5", "temporal_generalization"),
    *("scorecard", "known_answer"),
]
CONFIGS = {"miniature": [], "nsd": ["--configfile", "config/nsd.yaml"]}
PAPER = {"dynadiff_train": 4 + 1 + 15, "mean_image_train": 4, "encode_latents": 4}
# standard, General and Specialized models


@pytest.fixture(scope="module")
def jobs(snakemake):
    """Function that counts the jobs of each rule in a dry run."""

    def count(config, target):
        options = ["--dry-run", "--quiet", "rules", "--nolock", *CONFIGS[config], "--"]
        printed = snakemake(*options, target)
        table = printed.split("Job stats:")[1].split("\n\n")[0]
        return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}

    return count


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("config", CONFIGS)
def test_every_target_can_be_planned(jobs, config, target):
    found = jobs(config, target)
    assert found[target] == 1
    if target.startswith(("table", "figure", "temporal", "scorecard")):
        assert found[f"make_{target}"] == 1
    assert ("miniature_bucket" in found) == (config == "miniature")


def test_paper_on_nsd(jobs):
    started = time.monotonic()
    found = jobs("nsd", "paper")
    assert time.monotonic() - started < 20
    assert found.items() >= PAPER.items()
    assert found["download_session"] == found["prepare_session"] == 4 * 40
    assert found["download_generator"] == found["fetch_weights"] == 1
    assert "check_known_answer" not in found


def test_paper_on_the_miniature(jobs):
    found = jobs("miniature", "paper")
    assert found.items() >= PAPER.items()
    assert found["download_session"] == found["prepare_session"] == 4 * 4
    assert found["check_known_answer"] == 1
    assert "download_generator" not in found


def test_demo_is_two_subjects_and_four_shifts(jobs):
    found = jobs("miniature", "all")
    assert found["dynadiff_train"] == 2 + 1 + 4
    assert found["mean_image_train"] == found["encode_latents"] == 2
    assert found["download_session"] == 2 * 4
    assert found["reconstruct"] == found["evaluate"] == 2 + 2 + 1 + 2 * 4


def test_a_table_needs_only_its_own_models(jobs):
    assert jobs("miniature", "table_1")["dynadiff_train"] == 2
    assert jobs("miniature", "figure_5")["dynadiff_train"] == 1 + 4
    assert "mean_image_train" not in jobs("miniature", "figure_5")
