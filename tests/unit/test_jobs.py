"""The jobs: which files, settings and commands the rules get from the configuration."""

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from config_data import values_of

from boldvision import plugins
from boldvision.config.load import load_config
from boldvision.datasets.nsd.fetch import Settings
from boldvision.errors import UserError
from boldvision.jobs import OPERATIONAL, Jobs, as_json, one_of
from boldvision.metrics.decoded import Decoding

DEFAULT = values_of()
MODEL = {"run": "dynadiff", "subjects": "subj01+subj02", "window": "main+2", "seed": "0"}
REPOSITORY = {"repository": "shi-labs/versatile-diffusion", "revision": "2926f8e"}


@pytest.fixture
def values():
    return copy.deepcopy(DEFAULT)


@pytest.fixture
def jobs(values):
    return make(values)


def make(values):
    return Jobs(load_config(values))


def wildcards(**values):
    return SimpleNamespace(**values)


def test_series_of_a_model_of_several_subjects(jobs):
    series = jobs.training_series(wildcards(**MODEL))
    assert len(series) == 4 + 4
    assert series[4] == "results/miniature/bold/nsd_prep/subj02/session01.npy"
    data = json.loads(jobs.data(wildcards(**MODEL)))
    assert {name: places["bold"] for name, places in data.items()} == {
        name: f"results/miniature/bold/nsd_prep/{name}" for name in ("subj01", "subj02")
    }


def test_series_of_one_test_subject(jobs):
    tested = wildcards(**MODEL, subject="subj02")
    assert json.loads(jobs.data(tested)) == {
        "subj02": {
            "trials": "results/miniature/trials/subj02.parquet",
            "split": "results/miniature/splits/standard/subj02.parquet",
            "images": "resources/miniature/images/subj02.h5",
            "bold": "results/miniature/bold/nsd_prep/subj02",
            "targets": {"vae": "results/miniature/targets/vae/subj02.h5"},
        }
    }
    assert len(jobs.tested_series(tested)) == 4


@pytest.mark.survives(
    "names",
    "A run is to be trained on more sessions than a subject has",
    "Refused when it is asked for, before any download; both numbers are named",
)
def test_no_more_sessions_than_a_subject_has(jobs):
    few = MODEL | {"run": "dynadiff-4sessions"}
    assert len(jobs.training_series(wildcards(**few))) == 4 + 4
    few["run"] = "dynadiff-5sessions"
    with pytest.raises(UserError, match="5 sessions are more than subj01 has, 4"):
        jobs.training_series(wildcards(**few))


def test_a_fetched_generator_is_an_input_as_a_folder(values):
    values["generators"]["tiny"] |= REPOSITORY
    jobs = make(values)
    folder = [jobs.config.generators["tiny"].folder]
    assert jobs.generators(wildcards(**MODEL)) == folder
    assert jobs.target_generators(wildcards(target="vae")) == folder
    assert list(jobs.fetched_generators) == folder


def test_a_shipped_generator_is_an_input_as_its_weights(jobs):
    files = jobs.generators(wildcards(**MODEL))
    assert [Path(file).parent.name for file in files] == ["image_unet", "vae"]
    assert all(Path(file).is_file() for file in files)
    assert jobs.target_generators(wildcards(target="vae")) == files
    assert jobs.generators(wildcards(**MODEL | {"run": "mean_image"})) == []
    assert not jobs.fetched_generators


def test_a_shipped_dual_generator_is_an_input_with_its_text_unet(jobs):
    files = jobs.generators(wildcards(**MODEL | {"run": "brain_diffuser"}))
    assert [Path(file).parent.name for file in files] == ["image_unet", "vae", "text_unet"]
    assert all(Path(file).is_file() for file in files)


def test_settings_are_what_a_stage_uses(jobs):
    told = jobs.stage_settings("train")
    settings = json.loads(told(wildcards(**MODEL)))
    assert settings["run"]["decoder"] == "dynadiff"
    assert "reconstruction" not in settings["run"]
    assert not OPERATIONAL & settings["run"]["training"].keys()
    assert settings["generators"]["tiny"]["folder"] == "boldvision/generators/tiny"
    assert settings["window"] == {"n_tr": 6, "start_s": 3.0, "shift": 2}
    settings = json.loads(told(wildcards(**MODEL | {"run": "mean_image"})))
    assert settings["generators"] == {}
    assert json.loads(jobs.target_settings(wildcards(target="vae")))["target"]["kind"] == "vae"


def test_own_window_is_the_one_trained_on(jobs):
    tested = wildcards(**MODEL, subject="subj01", test_set="own")
    settings = json.loads(jobs.reconstruction_settings(tested))
    assert list(settings["windows"]) == ["main+2"]
    tested.test_set = "shifts"
    assert len(json.loads(jobs.reconstruction_settings(tested))["windows"]) == 16


def test_fetch_settings_are_those_of_the_subject(jobs):
    settings = json.loads(jobs.fetch_settings(wildcards(subject="subj02")))
    assert settings["subject"]["number"] == 2
    assert "subject" not in json.loads(jobs.fetch_settings(wildcards()))


@pytest.mark.survives(
    "patience",
    "A subject's number of sessions or of voxels is corrected after its sessions were fetched",
    "Raw data that are there are not fetched again",
)
def test_only_what_says_which_files_they_are_fetches_them_again(values):
    values["scopes"]["paper"]["few_sessions"] = [1]
    where = wildcards(subject="subj01", session="01")

    def told(**changes):
        values["subjects"]["subj01"] |= changes
        jobs = make(values)
        whole = json.loads(jobs.fetch_settings(where)) | json.loads(jobs.source(where))
        assert Settings.model_validate(whole).subject == jobs.config.subjects["subj01"]
        return jobs.fetch_settings(where)

    fetched = told(sessions=4, rest_sessions=[3])
    assert told(sessions=3) == fetched
    assert told(rest_sessions=[2, 3]) == fetched
    assert told(voxels=values["subjects"]["subj01"]["voxels"] + 1) == fetched
    assert told(rest_sessions=[1]) != fetched


def test_one_run_s_setting_changes_no_other(values):
    before = make(values)
    values["runs"]["dynadiff_time_resolved"]["training"] = {"learning_rate": 0.1}
    after = make(values)
    for run in values["runs"]:
        model = wildcards(**MODEL | {"run": run})
        same = before.stage_settings("train")(model) == after.stage_settings("train")(model)
        assert same == (run != "dynadiff_time_resolved")


def test_a_set_of_metrics_has_the_networks_that_it_needs(jobs):
    settings = json.loads(jobs.metrics_settings(wildcards(metrics="matrix")))
    assert settings["set"] == ["pixcorr", "alexnet_2"]
    assert list(settings["networks"]) == ["alexnet"]
    settings = json.loads(jobs.metrics_settings(wildcards(metrics="all")))
    assert set(settings["networks"]) == set(jobs.fetched_metrics()["networks"])


def test_latents_are_decoded_as_their_run_makes_pictures(values):
    jobs = make(values)
    tested = wildcards(**MODEL, subject="subj01", test_set="matrix")
    assert json.loads(jobs.reconstruction_settings(tested))["stored"] == "latents"
    assert jobs.decoding_generator(tested) == [
        "boldvision/generators/tiny/vae/diffusion_pytorch_model.safetensors"
    ]
    sampled = jobs.reconstruction_settings(tested)
    option, told = jobs.decoding_options(tested)
    assert option == "--decode"
    assert json.loads(told).keys() == {"generator", "precision", "rounding", "blur_faces"}
    assert Decoding.model_validate_json(told).generator.folder == "boldvision/generators/tiny"
    run = values["runs"].setdefault(MODEL["run"], {})
    run["reconstruction"] = {"rounding": "truncate"}
    assert make(values).decoding_options(tested) != [option, told]
    assert make(values).reconstruction_settings(tested) == sampled  # which takes a day
    tested.test_set = "own"
    assert make(values).reconstruction_settings(tested) != jobs.reconstruction_settings(tested)
    tested.test_set = "matrix"
    values["generators"]["tiny"]["folder"] = "/elsewhere"
    assert json.loads(make(values).decoding_options(tested)[1])["generator"]["folder"] != told


def test_pictures_have_nothing_to_be_decoded(jobs):
    """Those of a test set that keeps them, and of a decoder that has no latents."""
    for tested in (
        wildcards(**MODEL, subject="subj01", test_set="shifts"),
        wildcards(**MODEL | {"run": "mean_image"}, subject="subj01", test_set="matrix"),
    ):
        assert json.loads(jobs.reconstruction_settings(tested))["stored"] == "pictures"
        assert jobs.decoding_options(tested) == jobs.decoding_generator(tested) == []


def test_launch_options(values):
    assert make(values).launch_options("training")(wildcards(run="dynadiff")) == [
        "--precision",
        "no",
    ]
    values["runs"]["dynadiff"]["training"] |= {"precision": "bf16", "deepspeed": "my zero.json"}
    options = make(values).launch_options("training")(wildcards(run="dynadiff"))
    assert options == ["--precision", "bf16", "--deepspeed", "my zero.json"]


@pytest.mark.survives(
    "results",
    "The DeepSpeed configuration of a run is edited after it was trained",
    "The file is an input of the training: its models are trained again",
)
def test_the_deepspeed_configuration_is_an_input(values):
    assert make(values).deepspeed("training")(wildcards(run="dynadiff")) == []
    values["runs"]["dynadiff"]["training"]["deepspeed"] = "config/deepspeed_zero2.json"
    (file,) = make(values).deepspeed("training")(wildcards(run="dynadiff"))
    assert Path(file).is_file()
    rules = plugins.found("decoders")["dynadiff"] / "rules.smk"
    assert 'deepspeed=JOBS.deepspeed("training"),' in rules.read_text()


def test_downloads_are_served_only_in_the_miniature(values):
    served = make(values).served("nsddata/a/", "nsddata/{subject}/")
    assert served.endswith("--prefix nsddata/a/ 'nsddata/{subject}/' --")
    values["s3"]["serve"] = None
    assert make(values).served("nsddata/a/") == ""
    assert make(values).endpoint(wildcards()) == []


def test_constraints(jobs):
    dynadiff = jobs.runs_of("dynadiff")
    assert re.fullmatch(dynadiff, "dynadiff_time_resolved")
    assert re.fullmatch(dynadiff, "dynadiff-2sessions")
    assert not re.fullmatch(dynadiff, "mean_image")
    assert re.fullmatch(jobs.runs_of(), "mean_image")
    assert jobs.preprocessings_of("nsd_prep") == "nsd_prep|nsd_prep_released"
    assert not re.fullmatch(one_of([]), "")
    assert re.fullmatch(one_of(["a.b"]), "a.b")
    assert not re.fullmatch(one_of(["a.b"]), "acb")


def test_as_json_is_the_same_text_for_the_same_values():
    assert as_json(b=1, a={"d": 1, "c": 2}) == as_json(a={"c": 2, "d": 1}, b=1)
    with pytest.raises(TypeError, match="is not a setting"):
        as_json(path=Path("a"))
