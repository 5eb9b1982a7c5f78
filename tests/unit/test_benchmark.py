"""The benchmark of a GPU, on a CPU: every part with the smallest sizes that there are."""

import json
from pathlib import Path

import pytest
from config_data import DEFAULT, NSD

from boldvision import cli, costs
from boldvision.benchmark import data, scoring, stage
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.errors import UserError
from boldvision.generators import base, pretrain
from boldvision.plan import Plan

pytestmark = pytest.mark.usefixtures("no_gpu")
SMALL = {
    "decoder": "dynadiff",
    "brain_module": {"hidden": 6},
    "training": {"batch_size": 8, "device_batch_size": 8},
    "reconstruction": {"steps": 2, "batch_size": 2},
}


@pytest.fixture(scope="module")
def values():
    return read_values([DEFAULT]) | {"runs": {"dynadiff": SMALL}}


@pytest.fixture(scope="module")
def found(folder, values):
    """What the stage wrote."""
    out = folder / "benchmark.json"
    told = ["--settings", json.dumps(values), "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "PX", 32)
        patch.setattr(stage, "peak_teraflop_per_s", lambda: 0.1)
        assert cli.main(["benchmark", *told, "--seconds", "0.01", "--images", "10"]) == 0
    assert [file.name for file in folder.iterdir()] == ["benchmark.json"]
    return json.loads(out.read_text())


def test_every_part_is_measured(found):
    assert found["device"].startswith("CPU")
    assert found["weights"] == {"tiny": "tiny generator"}
    assert found["targets"]["vae"]["images_per_s"] > 0
    [(name, decoder)] = found["decoders"].items()
    assert (name, decoder["run"]) == ("dynadiff", "dynadiff")
    assert decoder["settings"]["run"]["training"]["batch_size"] == 8
    for part, rate in {"train": "samples_per_s", "pictures": "pictures_per_s"}.items():
        speed = decoder[part]
        assert speed[rate] > 0
        assert speed["share"] == pytest.approx(speed["teraflop_per_s"] / 0.1)
    assert found["scores"]["values_per_s"] > 0
    assert found["scores"]["roles"]["clip"]["weights"] == "random"
    assert found["scores"]["roles"]["alexnet"]["weights"] == "pretrained"


def test_the_plan_goes_by_it(found, values, tmp_path, monkeypatch):
    plan = Plan(load_config(values))
    monkeypatch.chdir(tmp_path)
    file = Path(plan.paths.benchmark_gpu)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(found))
    [cost, _] = costs.costs(plan, "demo", ["table_1"])
    assert cost.hours.bases == {"benchmark"}
    model = costs.training(plan, costs.Model("dynadiff", "subj01", "main", 0))["train"]
    rate = found["decoders"]["dynadiff"]["train"]["samples_per_s"]
    seconds = 2 * (model.samples / rate + plan.config.costs.job_s)
    assert cost.training_hours.least == pytest.approx(seconds / 3600, rel=0.01)


@pytest.mark.survives(
    "jobs",
    "One part of the GPU benchmark runs out of the card's memory",
    "It says so in the place of its numbers; the other parts are measured",
)
def test_a_part_that_fails_says_so(values, tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")

    for name in ("measure_target", "measure_decoder"):
        monkeypatch.setattr(stage, name, fails)
    monkeypatch.setattr(stage, "measure_scores", lambda *arguments: {"values_per_s": 7.0})
    monkeypatch.setattr(stage, "peak_teraflop_per_s", lambda: 0.1)
    found = stage.measure(Plan(load_config(values)), tmp_path, 0.01, 10)
    failed = {"failed": "RuntimeError: CUDA out of memory. Tried to allocate 20 GiB"}
    assert found["targets"] == {"vae": failed}
    assert found["decoders"] == {"dynadiff": failed}
    assert found["scores"]["values_per_s"] == 7


def test_a_generator_that_is_not_there_gets_random_weights(tmp_path, monkeypatch):
    real = load_config(read_values([DEFAULT, NSD])).generators["versatile_diffusion"]
    small = pretrain.new_unet(2, 8).config, pretrain.new_vae(16).config
    monkeypatch.setattr(base, "full_size_unet_config", lambda: _sizes(small[0]))
    monkeypatch.setattr(base, "full_size_vae_config", lambda: _sizes(small[1]))
    missing = real.model_copy(update={"folder": str(tmp_path / "missing")})
    settings, weights = data.usable(missing, tmp_path / "random")
    assert weights == "random weights"
    assert settings.folder == str(tmp_path / "random")
    assert {path.name for path in (tmp_path / "random").iterdir()} == set(base.PARTS)


def test_a_generator_that_ships_is_found_from_every_folder(values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, weights = data.usable(load_config(values).generators["tiny"], tmp_path / "random")
    assert weights == "tiny generator"
    assert Path(settings.folder).is_dir()


def _sizes(config):
    return {name: value for name, value in config.items() if not name.startswith("_")}


def test_a_network_that_cannot_be_made_here_is_named(values, monkeypatch):
    def network(settings, **options):
        raise UserError(f"no weights of {settings.name}")

    monkeypatch.setattr(scoring, "FeatureNetwork", network)
    monkeypatch.setattr(scoring, "PX", 16)
    found = scoring.measure_scores(load_config(values), 2, 0.01)
    assert found["roles"]["clip"] == {"failed": "no weights of vit_small"}
    assert found["values_per_s"] == pytest.approx(2 * found["roles"]["pixels"]["pictures_per_s"])
