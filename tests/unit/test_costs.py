"""What the paper costs: models against the paper, hours and disk from rates and shapes."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from config_data import DEFAULT, NSD, ROOT, runs_table, write_runs_table

from boldvision import costs, estimate
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
    for name in ("training_hours", "testing_hours", "bytes"):
        *parts, total = (getattr(cost, name) for cost in found.values())
        assert sum(parts) == pytest.approx(total)
    leakage_free = 16
    assert found["total"].models == sum(new for _, new in MODELS.values()) + leakage_free == 87


def test_hours_of_one_model_are_those_of_the_paper(nsd):
    [piece] = [p for p in costs.pieces(nsd, nsd.items["paper", "figure_6"][:1]).values()
               if p.stage == "models"]  # fmt: skip
    assert piece.hours == pytest.approx(60_000 * 320 / 11.1 / 3600, rel=1e-3)
    assert piece.hours == pytest.approx(480, abs=1)


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
    assert after.training_hours == pytest.approx(before.training_hours / 2)
    assert after.bytes < before.bytes
    [alone, _] = costs.costs(miniature, "demo", ["table_1"], measured=False)
    assert alone == before


def test_a_run_goes_on_at_the_speed_of_its_models(miniature):
    def hours(measured=True):
        return costs.costs(miniature, "demo", ["table_1"], measured)[0].training_hours

    before = hours()
    train(miniature, "dynadiff/subj01/main/seed-0", samples_per_second=400, processes=2)
    train(miniature, "mean_image/subj02/main/seed-0", trials=1)
    assert costs.samples_per_s(miniature, "dynadiff", "train") == 200
    samples = 600 * 64
    assert (
        before
        == hours(measured=False)
        == pytest.approx(2 * (samples / 1100 + miniature.config.costs.job_s) / 3600)
    )
    assert hours() == pytest.approx((samples / 200 + miniature.config.costs.job_s) / 3600)
    train(miniature, "dynadiff/subj02/main/seed-0", samples_per_second=100, processes=1)
    assert costs.samples_per_s(miniature, "dynadiff", "train") == 150
    assert costs.samples_per_s(miniature, "mean_image", "train") is None
    assert costs.samples_per_s(miniature, "dynadiff_betas", "train") is None


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
