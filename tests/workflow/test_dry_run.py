"""What would be run: for every configuration and target, how many jobs of each rule."""

import re
import time
from pathlib import Path

import pytest

from boldvision.runs_table import ITEMS as MADE_OF_RUNS
from tests.unit.config_data import runs_table

ROOT = Path(__file__).parents[2]

ITEMS = {
    "table_1": "make_table",
    "table_2": "make_table",
    "table_3": "make_table",
    "table_4": "make_table",
    "table_5": "make_table",
    "table_6": "make_table",
    "table_7": "make_table",
    "table_8": "make_table",
    "differences": "make_differences",
    "figure_3": "make_figure_3",
    "figure_4": "make_figure_4",
    "figure_4_leakage_free": "make_figure_4",
    "figure_5": "make_figure_5",
    "figure_5_leakage_free": "make_figure_5",
    "figure_6": "make_figure_6",
    "figure_7": "make_figure_7_8",
    "figure_8": "make_figure_7_8",
    "figure_9": "make_figure_9",
    "leakage": "make_leakage",
    "temporal_generalization": "make_temporal_generalization",
    "temporal_generalization_leakage_free": "make_temporal_generalization",
    "gallery": "make_gallery",
    "scorecard": "make_scorecard",
}
"""Targets, and the rule that makes each."""
TARGETS = ["all", "paper", "plan_paper", "known_answer", *ITEMS]
RELEASED = "metrics/dynadiff_released/subj01/released/seed-0/subj01/single_trial.all.json"
CONFIGS = {"miniature": [], "nsd": ["--configfile", str(ROOT / "config" / "nsd.yaml")]}
NSD_MODELS = {
    "table_1": 4,
    "table_2": 3 * 4,
    "table_3": 5 * 4,
    "table_4": 4,
    "table_5": 2 * 4,
    "table_6": 4,
    "table_7": 4,
    "table_8": 1 + 4,
    "figure_3": 2,
    "figure_4": 1 + 15,
    "figure_5": 1 + 15,
    "figure_6": 6,
    "figure_7": 4,
    "figure_8": 4,
    "figure_9": 6 + 1 + 6,  # from scratch, the model pretrained on three subjects, and from it
    "figure_4_leakage_free": 1 + 15,
    "figure_5_leakage_free": 1 + 15,
    "leakage": 2 * 16 + 1,  # of its control, the General model
    "temporal_generalization": 1 + 15,
    "temporal_generalization_leakage_free": 1 + 15,
    "gallery": 16 + 1 + 4,
}
"""Dynadiff models that each item of the paper needs on its own."""
NSD_PAPER = {
    "table_1": 4,
    "table_2": 2 * 4,  # the third variant is table 1's
    "table_3": 4 * 4,  # the LoRA row is table 1's
    "table_4": 4,
    "table_5": 4,
    "table_8": 1,
    "figures_4_and_5": 16,
    "leakage": 16 + 1,
    "figure_6": 5,  # 6 TRs are table 1's
    "figure_9": 5 + 1 + 6,  # 40 sessions from scratch are table 1's
}
"""Dynadiff models that each item adds to those above it."""


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
    if target in ITEMS:
        assert found[ITEMS[target]] == 1
    if config == "nsd" and target in NSD_MODELS:
        assert found["dynadiff_train"] == NSD_MODELS[target]
    assert ("miniature_bucket" in found) == (config == "miniature" and target != "plan_paper")


def test_paper_on_nsd(jobs, snakemake):
    started = time.monotonic()
    found = jobs("nsd", "paper")
    assert time.monotonic() - started < 20
    assert 50 < snakemake.peak_mb() < 1500
    assert found["dynadiff_train"] == sum(NSD_PAPER.values()) == 87
    assert found["mean_image_train"] == 4
    assert found["encode_target"] >= 4  # or more, of more decoders
    assert found["download_session"] == found["prepare_session"] == 4 * 40
    assert found["prepare_betas_session"] == found["prepare_fmriprep_session"] == 4 * 40
    assert found["run_fmriprep"] == found["download_rawdata"] == 4
    assert (found["make_table"], found["make_gallery"]) == (8, 1)
    assert found["download_generator"] >= found["fetch_weights"] == 1
    assert "check_known_answer" not in found


def test_paper_on_the_miniature(jobs):
    found = jobs("miniature", "paper")
    assert found["dynadiff_train"] == 4 + 8 + 16 + 4 + 4 + 1 + 2 * 5 + 1 + 5 + 3 + 1 + 4
    assert "run_fmriprep" not in found
    assert found["download_session"] == found["prepare_session"] == 4 * 4
    assert found["check_known_answer"] == 1
    assert "download_generator" not in found


def test_every_item_is_a_target():
    assert set(runs_table()["item"]) == set(MADE_OF_RUNS) <= set(ITEMS)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_released_protocol_can_be_planned(jobs, config):
    dataset = "miniature" if config == "miniature" else "nsd"
    assert jobs(config, f"results/{dataset}/{RELEASED}")["dynadiff_train"] == 1


def test_demo_is_two_subjects_and_four_shifts(jobs):
    found = jobs("miniature", "all")
    assert found["dynadiff_train"] == 2 + 1 + 4
    assert found["mean_image_train"] == 2
    assert found["encode_target"] >= 2
    assert found["download_session"] == 2 * 4
    assert found["reconstruct"] == found["evaluate"] >= 2 + 2 + 1 + 2 * 4  # or more decoders


def test_a_table_needs_only_its_own_models(jobs):
    assert jobs("miniature", "table_1")["dynadiff_train"] == 2
    assert jobs("miniature", "figure_5")["dynadiff_train"] == 1 + 4
    assert "mean_image_train" not in jobs("miniature", "figure_5")
