"""The plan: which files, settings and commands the rules get from configuration and runs table."""

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from boldvision.errors import UserError
from boldvision.report.known_answer import CHECKED
from boldvision.runs_table import read_runs
from boldvision.workflow import Plan, as_json, load_config, one_of

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
DEFAULT["runs_table"] = str(ROOT / "config" / "runs.tsv")
MODEL = {"run": "dynadiff", "subjects": "subj01+subj02", "window": "main+2", "seed": "0"}
REPOSITORY = {"repository": "shi-labs/versatile-diffusion", "revision": "2926f8e"}


@pytest.fixture
def values():
    return copy.deepcopy(DEFAULT)


@pytest.fixture
def plan(values):
    return Plan(values)


def wildcards(**values):
    return SimpleNamespace(**values, items=values.items)


def demo(function, **more):
    return function(wildcards(scope="demo", **more))


def test_items_grow_with_the_scope(plan):
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


def test_training_records_of_a_table(plan):
    where = wildcards(scope="paper", number="8")
    assert set(plan.records("table_{number}")(where)) == {
        f"results/miniature/models/{model}/main/seed-0/training.json"
        for model in (
            "dynadiff_joint/subj01+subj02+subj05+subj07",
            *(f"dynadiff/subj0{n}" for n in (1, 2, 5, 7)),
        )
    }
    assert plan.caption(where)["title"].startswith("One model of all subjects")


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
    assert Plan(values).known_answer("demo") == ["results/miniature/demo/known_answer.json"]
    values["miniature"] = None
    assert Plan(values).known_answer("demo") == []


def test_series_of_a_model_of_several_subjects(plan):
    series = plan.series(wildcards(**MODEL))
    assert len(series) == 4 + 4
    assert series[4] == "results/miniature/bold/nsd_prep/subj02/session01.npy"
    folders = plan.bold(wildcards(**MODEL))
    assert folders == [f"results/miniature/bold/nsd_prep/{name}" for name in ("subj01", "subj02")]


def test_series_of_one_test_subject(plan):
    tested = wildcards(**MODEL, subject="subj02")
    assert plan.bold(tested) == ["results/miniature/bold/nsd_prep/subj02"]
    assert len(plan.series(tested)) == 4


def test_a_fetched_generator_is_an_input_as_a_folder(values):
    values["generators"]["tiny"] |= REPOSITORY
    plan = Plan(values)
    folder = [plan.config.generators["tiny"].folder]
    assert plan.generator_files(wildcards(**MODEL)) == folder
    assert plan.generator_files(wildcards(generator="tiny")) == folder
    assert list(plan.fetched_generators) == folder


def test_a_shipped_generator_is_an_input_as_its_weights(plan):
    files = plan.generator_files(wildcards(**MODEL))
    assert [Path(file).parent.name for file in files] == ["image_unet", "vae"]
    assert all(Path(file).is_file() for file in files)
    assert plan.generator_files(wildcards(**MODEL | {"run": "mean_image"})) == []
    assert not plan.fetched_generators


def test_settings_are_what_a_stage_uses(plan):
    settings = json.loads(plan.run_settings(wildcards(**MODEL)))
    assert settings["run"]["decoder"] == "dynadiff"
    assert settings["generator"]["folder"] == "boldvision/generators/tiny"
    assert settings["window"] == {"n_tr": 6, "start_s": pytest.approx(3 + 2 * 4 / 3)}
    settings = json.loads(plan.run_settings(wildcards(**MODEL | {"run": "mean_image"})))
    assert settings["generator"] is None


def test_own_window_is_the_one_trained_on(plan):
    tested = wildcards(**MODEL, subject="subj01", test_set="own")
    settings = json.loads(plan.reconstruction_settings(tested))
    assert list(settings["windows"]) == ["main+2"]
    tested.test_set = "shifts"
    assert len(json.loads(plan.reconstruction_settings(tested))["windows"]) == 16


def test_fetch_settings_are_those_of_the_subject(plan):
    settings = json.loads(plan.fetch_settings(wildcards(subject="subj02")))
    assert settings["subject"]["number"] == 2
    assert json.loads(plan.fetch_settings(wildcards()))["subject"] is None


def test_one_run_s_setting_changes_no_other(values):
    before = Plan(values)
    values["runs"]["dynadiff_time_resolved"]["training"] = {"learning_rate": 0.1}
    after = Plan(values)
    for run in values["runs"]:
        model = wildcards(**MODEL | {"run": run})
        same = before.run_settings(model) == after.run_settings(model)
        assert same == (run != "dynadiff_time_resolved")


def test_launch_options(values):
    assert Plan(values).launch_options(wildcards(run="dynadiff")) == ["--precision", "no"]
    values["runs"]["dynadiff"]["training"] |= {"precision": "bf16", "deepspeed": "my zero.json"}
    options = Plan(values).launch_options(wildcards(run="dynadiff"))
    assert options == ["--precision", "bf16", "--deepspeed", "my zero.json"]


def test_downloads_are_served_only_in_the_miniature(values):
    served = Plan(values).served("nsddata/a/", "nsddata/{subject}/")
    assert served.endswith("--prefix nsddata/a/ nsddata/{subject}/ --")
    values["s3"]["serve"] = None
    assert Plan(values).served("nsddata/a/") == ""
    assert Plan(values).endpoint(wildcards()) == ""


def test_constraints(plan):
    dynadiff = plan.runs_of("dynadiff")
    assert re.fullmatch(dynadiff, "dynadiff_time_resolved")
    assert re.fullmatch(dynadiff, "dynadiff-2sessions")
    assert not re.fullmatch(dynadiff, "mean_image")
    assert re.fullmatch(plan.runs_of(), "mean_image")
    assert plan.preprocessings_of("nsd_prep") == "nsd_prep|nsd_prep_released"
    assert not re.fullmatch(one_of([]), "")
    assert re.fullmatch(one_of(["a.b"]), "a.b")
    assert not re.fullmatch(one_of(["a.b"]), "acb")


def test_as_json_is_the_same_text_for_the_same_values():
    assert as_json(b=1, a={"d": 1, "c": 2}) == as_json(a={"c": 2, "d": 1}, b=1)
    with pytest.raises(TypeError, match="is not a setting"):
        as_json(path=Path("a"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training", {"stepz": 1}, r"^  runs\.dynadiff_time_resolved\.training\.stepz: Extra"),
        ("training", {"steps": "many"}, r"^  runs\.dynadiff_time_resolved\.training\.steps: "),
        ("decoder", "ridge", r"^  runs\.dynadiff_time_resolved: .*'ridge'"),
        ("base", "dynadif", r"^  runs: 'dynadif' is not in `runs`"),
        ("generator", "sd", r"^  runs\.dynadiff_time_resolved: 'sd' is not in `generators`"),
    ],
)
def test_wrong_run_is_named(values, path, value, message):
    values["runs"]["dynadiff_time_resolved"][path] = value
    with pytest.raises(UserError) as error:
        load_config(values)
    assert re.search(message, str(error.value), re.MULTILINE)


def test_generator_without_revision_is_refused(values):
    values["generators"]["tiny"]["repository"] = "a/b"
    with pytest.raises(UserError, match=r"generators\.tiny: `repository` and `revision` need"):
        load_config(values)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("run", "ridge", "table_1: run 'ridge' is not in the configuration"),
        ("subjects", "all", "subjects 'all' is none of each, first, first_two, joint"),
        ("window", "late", "table_1: windows: 'late' is not in `windows`"),
        ("test_set", "held_out", "test_set 'held_out' is not in the configuration"),
        ("metrics", "best", "metrics 'best' is not in the configuration"),
    ],
)
def test_wrong_line_of_the_runs_table_is_named(values, tmp_path, column, value, message):
    runs = read_runs(values["runs_table"])
    runs.loc[0, column] = value
    values["runs_table"] = str(tmp_path / "runs.tsv")
    runs.to_csv(values["runs_table"], sep="\t", index=False)
    with pytest.raises(UserError, match=message):
        Plan(values)


def test_wrong_runs_table_is_named(values, tmp_path):
    values["runs_table"] = str(tmp_path / "runs.tsv")
    with pytest.raises(UserError, match=r"runs\.tsv: no such file"):
        Plan(values)
    (tmp_path / "runs.tsv").write_text("item\trow\n")
    with pytest.raises(UserError, match="expected columns"):
        Plan(values)


def test_item_without_a_line_is_named(plan):
    with pytest.raises(UserError, match="no line for 'figure_1'"):
        demo(plan.rows("figure_{number}"), number=1)
