"""The benchmark of a GPU, on a CPU: every part with the smallest sizes that there are."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from config_data import DEFAULT, NSD

from boldvision import cli, costs, plugins
from boldvision.benchmark import data, scoring, stage
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.errors import UserError
from boldvision.generators import base, pretrain
from boldvision.generators.dual import load_dual_generator
from boldvision.networks.autoencoder import settings as autoencoder
from boldvision.networks.vdvae.sizes import Sizes
from boldvision.plan import Plan
from boldvision.plugins import found
from boldvision.speeds import Speeds

pytestmark = pytest.mark.usefixtures("no_gpu")
MEASURED = {
    "dynadiff": ["train", "pictures"],
    "brain_diffuser": ["pictures"],
    "mindeye1": ["high_level", "low_level", "pictures"],
}
"""Parts of decoders. The ridge is not measured: of few images it takes other operations."""


@pytest.fixture(scope="module")
def values():
    files = {name: found("decoders")[name] / "runs.yaml" for name in MEASURED}
    small = {name: yaml.safe_load(file.read_text())["test"] for name, file in files.items()}
    return read_values([DEFAULT]) | {"runs": small}


@pytest.fixture(scope="module")
def measured(folder, values):
    """What the stage wrote."""
    out = folder / "benchmark.json"
    told = ["--settings", json.dumps(values), "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "PX", 32)
        patch.setattr(stage, "peak_teraflop_per_s", lambda: 0.1)
        assert cli.main(["benchmark", *told, "--seconds", "0.01", "--images", "10"]) == 0
    assert [file.name for file in folder.iterdir()] == ["benchmark.json"]
    return json.loads(out.read_text())


def test_every_part_is_measured(measured):
    assert measured["device"].startswith("CPU")
    assert {"tiny", "tiny_dual", "clip", "vdvae", "convnext"} <= set(measured["weights"])
    assert all(weights.startswith("tiny") for weights in measured["weights"].values())
    assert {"vae", "vdvae", "clip_image", "clip_text"} <= set(measured["targets"])
    assert all(target["images_per_s"] > 0 for target in measured["targets"].values())
    assert set(measured["decoders"]) == set(MEASURED)
    for name, parts in MEASURED.items():
        decoder = measured["decoders"][name]
        assert decoder["run"] == name
        assert set(decoder) == {"run", "settings", "memory_gb", *parts}
        for part in parts:
            speed = decoder[part]
            assert speed["pictures_per_s" if part == "pictures" else "samples_per_s"] > 0
            assert speed["share"] == pytest.approx(speed["teraflop_per_s"] / 0.1)
    assert measured["scores"]["values_per_s"] > 0
    assert measured["scores"]["roles"]["clip"]["weights"] == "random"
    assert measured["scores"]["roles"]["alexnet"]["weights"] == "pretrained"


def test_the_plan_goes_by_it(measured, values, tmp_path, monkeypatch):
    plan = Plan(load_config(values))
    monkeypatch.chdir(tmp_path)
    file = Path(plan.paths.benchmark_gpu)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(measured))
    speeds = Speeds(plan, measured=True)
    for name, parts in MEASURED.items():
        assert speeds.pictures(name, 10, costs.picture(plan, name)).bases == {"benchmark"}
        works = costs.training(plan, costs.Model(name, "subj01", "main", 0))
        for stage_name, work in works.items():
            hours = speeds.training(name, stage_name, work)
            assert hours.bases == {"benchmark" if stage_name in parts else "assumed"}
            if stage_name in parts:
                rate = measured["decoders"][name][stage_name]["samples_per_s"]
                assert hours.least == pytest.approx(work.samples / rate / 3600)


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
    told = stage.measure(Plan(load_config(values)), tmp_path, 0.01, 10)
    failed = {"failed": "RuntimeError: CUDA out of memory. Tried to allocate 20 GiB"}
    assert told["targets"]["vae"] == failed
    assert told["decoders"] == dict.fromkeys(MEASURED, failed)
    assert told["scores"]["values_per_s"] == 7


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


def test_a_dual_generator_that_is_not_there_gets_random_weights(tmp_path, monkeypatch):
    real = load_config(read_values([DEFAULT, NSD])).generators["versatile_diffusion_dual"]
    sizes = pretrain.new_unet(2, 8).config, pretrain.new_vae(16).config
    monkeypatch.setattr(base, "full_size_unet_config", lambda: _sizes(sizes[0]))
    monkeypatch.setattr(base, "full_size_vae_config", lambda: _sizes(sizes[1]))
    missing = real.model_copy(update={"folder": str(tmp_path / "missing"), "text_width": 6})
    settings, weights = data.usable(missing, tmp_path / "random")
    assert weights == "random weights"
    small = {"kind": "tiny_dual", "image_px": 16, "tokens": 4, "width": 8}
    loaded = load_dual_generator(settings.model_copy(update=small))
    noisy, t = torch.zeros(1, *loaded.latent_shape), torch.tensor([3])
    assert loaded.unet(noisy, t, torch.ones(1, 4, 8), torch.ones(1, 5, 6), 0.4).isfinite().all()


@pytest.mark.parametrize(
    "kind", [kind for kind, folder in found("networks").items() if (folder / "keys.py").exists()]
)
def test_a_network_that_is_not_there_gets_random_weights(kind, values, tmp_path, monkeypatch):
    config = load_config(values)
    own = {config.network(name).kind: config.network(name) for name in config.network_names}
    own["autoencoder"] = autoencoder.Network(kind="autoencoder", folder="missing", widths=(32,) * 4)
    for name, read in {"clip": json.loads, "vdvae": Sizes.model_validate_json}.items():
        sizes = (found("networks")[name] / "tiny" / "config.json").read_text()
        monkeypatch.setattr(f"boldvision.networks.{name}.blank.FULL_SIZE", read(sizes))
    missing = own[kind].model_copy(update={"folder": str(tmp_path / "missing")})
    network, weights = data.usable_network(missing, tmp_path / "random")
    assert weights == "random weights"
    loaded = plugins.defined("networks", kind, "network", "load")(network)
    assert all(parameter.isfinite().all() for parameter in loaded.parameters())


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
    told = scoring.measure_scores(load_config(values), 2, 0.01)
    assert told["roles"]["clip"] == {"failed": "no weights of vit_small"}
    assert told["values_per_s"] == pytest.approx(2 * told["roles"]["pixels"]["pictures_per_s"])
