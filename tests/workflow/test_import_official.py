"""Official weights have rows of their own once they are there, and a sentence until then."""

import re
from pathlib import Path

import pytest

NSD = ["--configfile", str(Path(__file__).parents[2] / "config" / "nsd.yaml")]
PLAN = ["--dry-run", "--quiet", "rules", "--nolock"]


def planned(printed):
    table = printed.split("Job stats:")[1].split("\n\n")[0]
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


@pytest.mark.parametrize(("config", "subjects"), [([], 2), (NSD, 4)])
def test_they_are_rows_of_tables_1_6_and_7(snakemake, official_weights, config, subjects):
    weights = ["--config", f"runs={{dynadiff_official: {{weights: {official_weights}}}}}"]
    tables = ["--", "table_1", "table_6", "table_7"]
    without = planned(snakemake(*PLAN, *config, *tables))
    found = planned(snakemake(*PLAN, *config, *weights, *tables))
    assert found["dynadiff_official_convert"] == subjects
    assert "dynadiff_official_convert" not in without
    for rule in ("reconstruct", "evaluate"):  # on single trials and on their average
        assert found[rule] == without[rule] + 2 * subjects
        assert without[rule] % (2 * subjects) == 0


def test_importing_needs_one_session_and_no_image(snakemake, official_weights):
    weights = ["--config", f"runs={{dynadiff_official: {{weights: {official_weights}}}}}"]
    found = planned(snakemake(*PLAN, *NSD, *weights, "--", "import_official"))
    assert found["download_session"] == found["prepare_session"] == 4
    assert not {"encode_target", "dynadiff_train", "download_images"} & set(found)


@pytest.mark.survives(
    "patience",
    "`import_official` is asked for, or a model of it, and the weights are not there",
    "One sentence says what to download and which key to set",
)
@pytest.mark.parametrize(
    "target",
    [
        "import_official",
        "results/miniature/models/dynadiff_official/subj01/released/seed-0/model.json",
    ],
)
def test_what_to_set_is_said(snakemake, target):
    printed = snakemake(*PLAN, "--", target, fails=True)
    assert "`weights`: expected the folder with the authors' weights, found null" in printed


def test_the_folder_that_lacks_a_subject_is_named(snakemake, tmp_path):
    weights = ["--config", f"runs={{dynadiff_official: {{weights: {tmp_path}}}}}"]
    printed = snakemake(*PLAN, *weights, "--", "import_official", fails=True)
    assert f"{tmp_path}: expected the folder sub01/checkpoint or subj01/checkpoint" in printed
