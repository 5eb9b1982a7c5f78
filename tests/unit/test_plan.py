"""The plan: which files the tables and figures of a scope are, and are made of."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from config_data import runs_table, values_of, write_runs_table

from boldvision.config.load import load_config
from boldvision.datasets.miniature.known_answer import CHECKED
from boldvision.errors import UserError
from boldvision.plan import Plan
from boldvision.report.tables import caption

DEFAULT = values_of()


@pytest.fixture
def values():
    return copy.deepcopy(DEFAULT)


@pytest.fixture
def plan(values, tmp_path):
    values["runs_table"] = write_runs_table(runs_table(), tmp_path / "runs.tsv")
    return Plan(load_config(values))


def wildcards(**values):
    return SimpleNamespace(**values, items=values.items)


def demo(function, **more):
    return function(wildcards(scope="demo", **more))


def test_items_grow_with_the_scope(values, tmp_path):
    values["runs_table"] = write_runs_table(runs_table(), tmp_path / "runs.tsv")
    plan = Plan(load_config(values))
    count = {key: len(found) for key, found in plan.items.items()}
    assert count["demo", "table_1"] == 2 * 2  # decoders x subjects
    assert count["paper", "table_1"] == 2 * 4
    assert count["demo", "figure_5"] == 1 + 4  # General, Specialized shifts
    assert count["paper", "figure_5"] == 1 + 4


def test_specialized_models_are_in_order_of_their_shift(plan):
    windows = [row["window"] for row in demo(plan.rows("figure_5"))]
    assert windows == ["main", "main-3", "main-1", "main+1", "main+3"]


def test_rows_and_scores_name_the_same_files(plan):
    rows = demo(plan.rows("table_1"))
    assert rows[0]["parquet"] == (
        "results/miniature/metrics/dynadiff/subj01/main/seed-0/subj01/single_trial.all.parquet"
    )
    files = demo(plan.scores("table_1"))
    assert files == [row[file] for row in rows for file in ("parquet", "summary")]
    assert demo(plan.pictures("table_1")) == [row["reconstructions"] for row in rows]
    assert rows[0]["stimuli"] == "resources/miniature/images/subj01.h5"


def test_tables_of_a_scope(plan):
    rows = plan.table_rows(wildcards(scope="demo"))
    assert list(rows) == ["table_1", "table_6"]
    assert rows["table_1"] == demo(plan.rows("table_1"))
    files = plan.table_scores(wildcards(scope="demo"))
    assert files == demo(plan.scores("table_1"))  # table 6 is of the same
    assert len(plan.table_rows(wildcards(scope="paper"))) == 8


def test_models_of_a_table(plan):
    where = wildcards(scope="paper", number="8")
    assert set(plan.models("table_{number}")(where)) == {
        f"results/miniature/models/{model}/main/seed-0/model.json"
        for model in (
            "dynadiff_joint/subj01+subj02+subj05+subj07",
            *(f"dynadiff/subj0{n}" for n in (1, 2, 5, 7)),
        )
    }
    assert caption(8)["title"].startswith("One model of all subjects")


def test_known_answer_is_checked_on_the_items_of_its_scope(plan):
    assert list(demo(plan.checked_rows)) == ["table_1", "figure_5"]
    files = demo(plan.checked_files)
    assert len(files) == len(set(files))
    assert set(demo(plan.scores("figure_5"))) < set(files)
    assert {*demo(plan.pictures("table_1")), *demo(plan.stimuli("table_1"))} < set(files)
    assert set(plan.checked_rows(wildcards(scope="paper"))) == set(CHECKED)


def test_everything_has_every_target(plan):
    everything = plan.everything("demo")
    assert len(everything) == len(set(everything)) == (2 + 1) * 3 + 3 * 2 + 2 + 1
    parts = (plan.table("table_6", "demo"), plan.figure("figure_4", "demo"), plan.scorecard("demo"))
    for files in parts:
        assert set(files) < set(everything)


def test_real_data_have_no_known_answer(values):
    miniature = Plan(load_config(values))
    assert miniature.known_answer("demo") == ["results/miniature/demo/known_answer.json"]
    values["miniature"] = values["s3"]["serve"] = None
    values["targets"]["sd_latents"]["network"] = None  # as real data have it
    assert Plan(load_config(values)).known_answer("demo") == []


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("run", "nobody", "table_1: run 'nobody' is not in the configuration"),
        ("subjects", "all", "subjects 'all' is none of each, first, first_two, joint"),
        ("window", "late", "table_1: windows: 'late' is not in `windows`"),
        ("test_set", "held_out", "test_set 'held_out' is not in the configuration"),
        ("metrics", "best", "metrics 'best' is not in the configuration"),
    ],
)
def test_wrong_line_of_the_runs_table_is_named(values, tmp_path, column, value, message):
    runs = runs_table()
    runs.loc[0, column] = value
    values["runs_table"] = write_runs_table(runs, tmp_path / "runs.tsv")
    with pytest.raises(UserError, match=message):
        Plan(load_config(values))


def test_a_metric_that_is_shown_must_be_computed(values):
    values["metrics"]["sets"]["curve"].remove("ssim")
    with pytest.raises(UserError, match=r"figure_5 shows ssim, which metrics\.sets\.curve lacks"):
        Plan(load_config(values))
    values["figures"]["figure_5"]["metrics"].remove("ssim")
    Plan(load_config(values))
    values["metrics"]["sets"]["all"].remove("pixcorr")
    with pytest.raises(UserError, match=r"figure_3 shows pixcorr, which metrics\.sets\.all lacks"):
        Plan(load_config(values))


@pytest.mark.survives(
    "results",
    "Rows of a figure over time are of several splits or sampling periods, which it states once",
    "Refused before anything runs; the figure and its runs are named",
)
@pytest.mark.parametrize(
    ("item", "settings", "told"),
    [
        ("figure_5", {"split": "standard"}, "figure_5: expected runs of one split, found .*other"),
        (
            "figure_4",
            {"preprocessing": "fmriprep"},
            "figure_4: expected runs of one tr_s, found other 1.6, .* 1.33;",
        ),
        ("figure_5", {"preprocessing": "fmriprep"}, None),
    ],
)
def test_what_a_figure_states_once_is_the_same_in_all_rows(values, tmp_path, item, settings, told):
    runs = runs_table()
    first = runs.index[runs["item"] == item][0]
    values["runs"]["other"] = {"base": runs["run"][first]} | settings
    runs.loc[first, "run"] = "other"
    values["runs_table"] = write_runs_table(runs, tmp_path / "runs.tsv")
    with pytest.raises(UserError, match=told) if told else nullcontext():
        Plan(load_config(values))


@pytest.mark.survives(
    "results",
    "Rows of the matrix are tested on different test sets",
    "Refused before anything runs: identification among more images is harder",
)
def test_a_matrix_has_one_test_set(values, tmp_path):
    runs = runs_table()
    first = runs.index[runs["item"] == "temporal_generalization"][0]
    runs.loc[first, "test_set"] = "shifts"
    values["runs_table"] = write_runs_table(runs, tmp_path / "runs.tsv")
    told = "expected rows of one test_set, found General shifts, Specialized matrix; give"
    with pytest.raises(UserError, match=f"temporal_generalization: {told}"):
        Plan(load_config(values))


@pytest.mark.survives(
    "results",
    "A figure is to show pictures of a test set that keeps latents",
    "Refused before anything runs; the figure, its row and the test set are named",
)
@pytest.mark.parametrize(
    ("test_set", "item", "row"),
    [
        ("shifts", "figure_4", "General"),
        ("own", "figure_4", "Specialized"),
        ("single_trial", "table_1", "Dynadiff"),  # the known answer looks at its pictures
    ],
)
def test_what_is_shown_is_kept_as_pictures(values, tmp_path, test_set, item, row):
    values["runs_table"] = write_runs_table(runs_table(), tmp_path / "runs.tsv")
    values["test_sets"][test_set]["stored"] = "latents"
    told = rf"{item}: row '{row}' shows pictures, and test_sets\.{test_set} keeps latents: set"
    with pytest.raises(UserError, match=told):
        Plan(load_config(values))


def test_averages_show_nothing_and_may_be_kept_as_latents(values):
    values["test_sets"]["averaged"]["stored"] = "latents"
    Plan(load_config(values))


def test_a_misspelt_item_is_named(values):
    values["scopes"]["demo"]["items"].append("figure_55")
    with pytest.raises(UserError, match=r"scopes\.demo\.items: no line of .* is for figure_55"):
        Plan(load_config(values))


def test_wrong_runs_table_is_named(values, tmp_path):
    values["runs_table"] = str(tmp_path / "runs.tsv")
    with pytest.raises(UserError, match=r"runs\.tsv: no such file"):
        Plan(load_config(values))
    (tmp_path / "runs.tsv").write_text("item\trow\n")
    with pytest.raises(UserError, match="expected columns"):
        Plan(load_config(values))


def test_item_without_a_line_is_named(plan):
    with pytest.raises(UserError, match="no line of the runs table is for 'figure_1'"):
        demo(plan.rows("figure_{number}"), number=1)
