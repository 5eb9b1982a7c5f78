"""What the paper costs: models against the paper, hours and disk from rates and shapes."""

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from config_data import DEFAULT, NSD, ROOT, runs_table, write_runs_table

from boldvision import costs, estimate, plugins, speeds
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.record import write_model_record
from boldvision.errors import UserError
from boldvision.generators.base import Generator
from boldvision.plan import Plan
from boldvision.signal import surface

MODELS = {  # that an item needs, and that no item above it needs
    "table_1": (4, 4),
    "table_2": (3 * 4, 2 * 4),  # the third variant is table 1's
    "table_3": (5 * 4, 4 * 4),  # the LoRA row is table 1's
    "table_4": (4, 4),
    "table_5": (2 * 4, 4),
    "table_6": (4, 0),
    "table_7": (4, 0),
    "table_8": (1 + 4, 1),
    "figure_3": (2, 0),
    "figure_4": (16, 16),
    "figure_5": (16, 0),
    "figure_5_leakage_free": (16, 0),
    "figure_6": (6, 5),  # 6 TRs are table 1's
    "figure_7": (4, 0),
    "figure_9": (6 + 1 + 6, 6 + 1 + 5),  # 40 sessions from scratch are table 1's
    "leakage": (32 + 1, 1),  # the size-matched control
    "temporal_generalization": (16, 0),
}


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def values(folder):
    own = {"runs_table": write_runs_table(runs_table(), folder / "runs.tsv")}
    return {
        "miniature": lambda: load_config(read_values([DEFAULT]) | own),
        "nsd": lambda: load_config(read_values([DEFAULT, NSD]) | own),
    }


@pytest.fixture
def nsd(values):
    return Plan(values["nsd"]())


@pytest.fixture
def miniature(values, tmp_path, monkeypatch):
    """The plan of a miniature of which nothing is there."""
    plan = Plan(values["miniature"]())
    monkeypatch.chdir(tmp_path)
    return plan


def train(plan, model, **record):
    """A model whose one stage recorded this."""
    run = model.split("/")[0]
    folder = Path(plan.paths.models, model)
    write_artefact(folder / "train", {}, record)
    write_model_record(folder, plan.config.run(run).decoder, ["train"])


def test_models_of_the_paper(nsd):
    found = {c.item: c for c in costs.costs(nsd, "paper", nsd.items_of("paper"), measured=False)}
    assert {item: (found[item].models, found[item].new) for item in MODELS} == MODELS
    assert found["table_1"].free == found["total"].free == 4
    assert found["total"].models == found["total"].new == sum(c.new for c in found.values()) / 2
    *parts, total = found.values()
    assert sum(cost.bytes for cost in parts) == pytest.approx(total.bytes)
    for bound in ("least", "most"):
        for hours in (lambda cost: cost.training_hours, lambda cost: cost.testing_hours):
            of_parts = sum(getattr(hours(cost), bound) for cost in parts)
            assert of_parts == pytest.approx(getattr(hours(total), bound))
    leakage_free = 16
    assert found["total"].models == sum(new for _, new in MODELS.values()) + leakage_free == 87


def test_operations_are_those_counted_on_the_whole_networks(nsd):
    counted = json.loads((ROOT / "benchmarks/training.json").read_text())
    counted = counted["full_size_teraflop_per_image"]
    model = costs.Model("dynadiff", "subj01", "main", 0)
    work, one = costs.training(nsd, model)["train"], costs.picture(nsd, "dynadiff")
    assert work.samples == 60_000 * 320
    assert work.teraflop == pytest.approx(counted["training_step"])
    uncached = 20 * 2 * counted["unet_forward"] + counted["vae_decode"]
    keys_and_values = 257 * 2 * 2 * 768 * (5 * 320 + 5 * 640 + 6 * 1280) / 1e12
    assert one.teraflop == pytest.approx(uncached - 19 * 2 * keys_and_values)
    everything = costs.training(nsd, costs.Model("dynadiff_all_layers", "subj01", "main", 0))
    assert everything["train"].teraflop == pytest.approx(2.458, abs=0.001)


def test_activations_computed_twice_are_counted_twice(nsd):
    run = nsd.config.run("dynadiff")
    training = run.training.model_copy(update={"activation_checkpointing": True})
    sizes = costs._sizes(nsd.config, run, ("subj01",), 6)
    cost = plugins.defined("decoders", "dynadiff", "cost", "training")
    once, twice = (
        cost(run.model_copy(update={"training": settings}), sizes)["train"].teraflop
        for settings in (run.training, training)
    )
    assert 0.6 < (twice - once) / 0.818 < 1  # not what lies between blocks, nor a block's last step


def test_hours_of_one_model_reach_from_our_goal_to_the_released_speed(nsd):
    """The paper's 480 hours are of 2.15 times the operations: dual U-Net, images encoded anew."""
    dual_unet, encoder, trained_s = 2.558, 1.117, 8 * 2.5 * 86400
    released = 60_000 * 320 * (dual_unet + encoder) / trained_s
    assert released / 312 == pytest.approx(nsd.config.costs.share[0], abs=0.002)
    [piece] = [p for p in costs.pieces(nsd, nsd.items["paper", "figure_6"][:1]).values()
               if p.stage == "models"]  # fmt: skip
    start = nsd.config.costs.job_s / 3600
    teraflop = 60_000 * 320 * 1.712
    assert piece.hours.most - start == pytest.approx(teraflop / (0.13 * 312) / 3600, rel=1e-3)
    assert piece.hours.least - start == pytest.approx(teraflop / (0.40 * 312) / 3600, rel=1e-3)
    assert piece.hours.most < 480 / 2
    assert piece.hours.bases == {"assumed"}


def test_a_pretrained_model_needs_the_one_it_starts_from(nsd):
    needed = costs.models(nsd, nsd.items["paper", "figure_9"])
    paths = [model.path for model in needed]
    start = paths.index("dynadiff_joint/subj02+subj05+subj07/main/seed-0")
    assert start < paths.index("dynadiff_pretrained-1sessions/subj01/main/seed-0")
    series = {p.path for p in costs.pieces(nsd, nsd.items["paper", "figure_9"]).values()}
    assert "results/nsd/bold/nsd_prep/subj07/session40.npy" in series


def test_disk_follows_from_shapes(nsd):
    def size(item, stage, path):
        found = costs.pieces(nsd, nsd.items["paper", item]).values()
        return sum(p.bytes for p in found if p.stage == stage and path in p.path)

    assert size("figure_6", "clean series", "nsd_prep/subj01") == 40 * 12 * 225 * 15724 * 4
    assert size("table_4", "clean series", "betas/subj02") == 40 * 750 * 14278 * 4
    assert size("table_5", "clean series", "fmriprep/subj05") == 40 * 12 * 188 * 20484 * 2
    assert costs.FSAVERAGE5 == surface.VERTICES
    assert size("table_1", "targets", "subj01") == 10_000 * 2 * 4 * 64 * 64 * 2
    assert size("table_1", "images", "subj01") == 10_000 * 425**2 * 3
    assert size("table_1", "reconstructions", "dynadiff/subj01") == 1000 * 512**2 * 3
    assert size("table_7", "reconstructions", "dynadiff/subj01") == 1000 * 512**2 * 3
    assert size("figure_5", "reconstructions", "/main/") == 16 * 2812 * 512**2 * 3
    kept = size("temporal_generalization", "reconstructions", "/main-8/")
    assert kept == 16 * 1000 * 512**2 * 3 / 24
    assert size("table_1", "models", "dynadiff/subj01") == pytest.approx(345.9e6 * 4, rel=0.01)


@pytest.mark.parametrize(
    "run", ["dynadiff", "dynadiff_frozen", "dynadiff_linear_layers", "dynadiff_betas"]
)
def test_parameters_are_those_of_the_model(miniature, run):
    from diffusers import UNet2DConditionModel

    settings, window = miniature.config.run(run), "betas" if run == "dynadiff_betas" else "main"
    generator = miniature.config.generators["tiny"]
    sizes = UNet2DConditionModel.load_config(ROOT / generator.folder / "image_unet")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(sizes).requires_grad_(False)
        voxels = {"subj01": 320, "subj02": 300}
        n_tr = miniature.config.window(window).n_tr
        model = Dynadiff(voxels, n_tr, Generator(generator, unet, None, None), settings)
    work = costs.training(miniature, costs.Model(run, "subj01+subj02", window, 0))
    assert work["train"].bytes == 4 * sum(value.numel() for value in model.trained().values())


def test_what_is_there_costs_nothing_more(miniature):
    before = costs.costs(miniature, "demo", ["table_1"])[0]
    assert (before.models, before.trained) == (2, 0)
    train(miniature, "dynadiff/subj01/main/seed-0", samples_per_second=1100, processes=1)
    after = costs.costs(miniature, "demo", ["table_1"])[0]
    assert (after.models, after.new, after.trained) == (2, 2, 1)
    assert after.training_hours.bases == {"own models"}
    assert before.training_hours.least / 4 < after.training_hours.most < before.training_hours.most
    assert after.bytes < before.bytes
    [alone, _] = costs.costs(miniature, "demo", ["table_1"], measured=False)
    assert alone == before


def test_a_run_goes_on_at_the_speed_of_its_models(miniature):
    def hours(measured=True):
        return costs.costs(miniature, "demo", ["table_1"], measured)[0].training_hours

    samples, start = 600 * 64, miniature.config.costs.job_s
    before = hours()
    teraflop = costs.training(miniature, costs.Model("dynadiff", "subj01", "main", 0))
    slow = 0.15 * 0.2 / teraflop["train"].teraflop
    assert before == hours(measured=False)
    assert before.most == pytest.approx(2 * (samples / slow + start) / 3600, rel=0.01)
    assert before.least < before.most
    train(miniature, "dynadiff/subj01/main/seed-0", samples_per_second=400, processes=2)
    train(miniature, "mean_image/subj02/main/seed-0", trials=1)
    assert speeds.samples_per_s(miniature, "dynadiff", "train") == 200
    assert hours().least == hours().most == pytest.approx((samples / 200 + start) / 3600)
    train(miniature, "dynadiff/subj02/main/seed-0", samples_per_second=100, processes=1)
    assert speeds.samples_per_s(miniature, "dynadiff", "train") == 150
    assert speeds.samples_per_s(miniature, "mean_image", "train") is None
    assert speeds.samples_per_s(miniature, "dynadiff_betas", "train") is None


def benchmark(plan, **changes):
    """The file of a benchmark with the present settings, but for what changes in the run's."""
    told = speeds.told(plan.config, "dynadiff")
    told["run"] |= changes
    measured = {"run": "dynadiff", "settings": told, "train": {"teraflop_per_s": 1.0},
                "pictures": {"teraflop_per_s": 2.0}}  # fmt: skip
    scores = {"settings": speeds.metrics_told(plan.config), "values_per_s": 500.0}
    file = Path(plan.paths.benchmark_gpu)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"decoders": {"dynadiff": measured}, "scores": scores}))


def test_a_benchmark_with_the_same_settings_takes_over(miniature):
    start = miniature.config.costs.job_s
    benchmark(miniature)
    [cost, _] = costs.costs(miniature, "demo", ["table_1"])
    model = costs.training(miniature, costs.Model("dynadiff", "subj01", "main", 0))["train"]
    [training, testing] = cost.training_hours, cost.testing_hours
    assert training.bases == testing.bases == {"benchmark"}
    seconds = 2 * (model.samples * model.teraflop / 1.0 + start)
    assert training.least == training.most == pytest.approx(seconds / 3600, rel=1e-2)
    train(miniature, "dynadiff/subj01/main/seed-0", samples_per_second=100, processes=1)
    [cost, _] = costs.costs(miniature, "demo", ["table_1"])
    assert cost.training_hours.bases == {"own models"}
    [cost, _] = costs.costs(miniature, "demo", ["table_1"], measured=False)
    assert cost.hours.bases == {"assumed"}


@pytest.mark.survives(
    "results",
    "The speed of a GPU was measured with other settings",
    "The plan does not use it, and says that its hours are assumed",
)
def test_a_benchmark_with_other_settings_does_not(miniature):
    benchmark(miniature, finetune="all")
    [cost, _] = costs.costs(miniature, "demo", ["table_1"])
    assert cost.training_hours.bases == {"assumed"}
    assert cost.testing_hours.bases == {"assumed", "benchmark"}  # pictures and scores


@pytest.mark.survives(
    "files",
    "The file of the GPU benchmark is damaged",
    "The plan names it, and says to remove it or to measure again",
)
def test_a_damaged_benchmark_is_named(miniature):
    file = Path(miniature.paths.benchmark_gpu)
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(UserError, match=r"benchmark_gpu\.json.*remove it, or run that again"):
        costs.costs(miniature, "demo", ["table_1"])


def test_raw_files_of_a_job(nsd, miniature):
    found = costs.in_flight(nsd, "paper")
    assert found["time series of a session"] == pytest.approx(1.3e9, rel=0.1)
    assert found["betas of a session"] == pytest.approx(19e9 / 40, rel=0.1)
    assert found["raw BOLD of a subject"] == pytest.approx(1.1e11, rel=0.1)
    assert "raw BOLD of a subject" not in costs.in_flight(miniature, "paper")


def test_command_prints_scopes_and_items(capsys):
    estimate.main(["--configfile", "config/nsd.yaml"])
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:4]] == [
        "table_1",
        "table_2",
        "table_3",
    ]
    assert "hours of one A100" in printed
    assert "13 % to 40 % of 312 teraflop/s (A100)" in printed
    assert re.search(r"^table_2 .* 590–1,800 .* assumed ", printed, re.MULTILINE)
    estimate.main(["--scope", "demo", "--item", "figure_5", "--markdown"])
    printed = capsys.readouterr().out
    assert "| dynadiff_time_resolved/subj01/main-3/seed-0 |" in printed
    with pytest.raises(UserError, match="--scope: 'all' is none of demo, paper"):
        estimate.main(["--scope", "all"])
    with pytest.raises(UserError, match="no line of the runs table is for 'figure_1'"):
        estimate.main(["--item", "figure_1"])


def test_script_writes_and_prints_the_plan(values, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("s", ROOT / "workflow/scripts/plan_paper.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(Plan, "items_of", lambda self, scope: ["table_1", "figure_5"])
    config = read_values([str(ROOT / "config" / "config.yaml")]) | {"dataset": "elsewhere"}
    monkeypatch.chdir(tmp_path)
    script.main(SimpleNamespace(params=SimpleNamespace(config=config)))
    assert "figure_5" in capsys.readouterr().out
    folder = tmp_path / "results/elsewhere/paper"
    header, *lines = (folder / "plan.tsv").read_text().splitlines()
    assert header.split("\t")[:3] == ["item", "models", "new"]
    assert [line.split("\t")[0] for line in lines] == ["table_1", "figure_5", "total"]
    assert "| figure_5 | 5 | 5 |" in (folder / "plan.md").read_text()


def test_document_is_in_sync():
    assert estimate.TARGETS.read_text() == estimate.targets(), "out of date: run `make docs`"
