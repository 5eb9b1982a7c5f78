"""What the rest asks of a dataset, and that it meets none but through files and this interface."""

import ast
import inspect
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from boldvision.config import Betas, Config, Fmriprep, NsdPrep
from boldvision.config.load import load_config
from boldvision.config_docs import read_config
from boldvision.datasets.base import Dataset
from boldvision.datasets.choose import dataset_of
from boldvision.datasets.miniature.known_answer import CHECKED, checks
from boldvision.datasets.nsd.runs import TR_S
from boldvision.errors import UserError
from boldvision.jobs import Jobs
from boldvision.plan import Plan

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "boldvision"
FREE = ["signal", "trials", "report", "metrics", "training", "decoders", "targets", "images.py"]


@pytest.fixture
def values():
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def real(*more) -> Config:
    """The real configuration, and what is laid over it."""
    files = [ROOT / "config" / name for name in ("config.yaml", "nsd.yaml")]
    return read_config([str(file) for file in (*files, *more)])


def imported(file: Path) -> set[str]:
    """Modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(place: str) -> list[Path]:
    path = LIBRARY / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


@pytest.mark.parametrize("place", FREE)
def test_what_is_right_of_the_data_imports_no_dataset(place):
    files = sources(place)
    assert files
    for file in files:
        assert not {name for name in imported(file) if "boldvision.datasets" in name}, file


def test_rules_know_subjects_from_the_configuration():
    for file in (ROOT / "workflow").rglob("*.smk"):
        assert "subj\\d" not in file.read_text(), file


def test_nothing_that_makes_data_imports_what_reads_results():
    """The known answer is looked at when all else is done; the dataset tells it by a list alone."""
    for file in sources("datasets"):
        names = imported(file)
        if "known_answer" not in file.parts:
            assert not {n for n in names if n.startswith("boldvision.report")}, file
            allowed = {"boldvision.datasets.miniature.known_answer"}
            allowed |= {f"{name}.CHECKED" for name in allowed}
            assert {n for n in names if "known_answer" in n} <= allowed, file
    light = LIBRARY / "datasets" / "miniature" / "known_answer" / "__init__.py"
    assert not imported(light)


def test_modules_of_the_miniature_do_not_import_each_other_in_circles():
    folder, prefix = LIBRARY / "datasets" / "miniature", "boldvision.datasets.miniature."
    needs = {f.stem: imported(f) for f in folder.glob("*.py")}
    needs = {name: {other for other in needs if prefix + other in found}
             for name, found in needs.items()}  # fmt: skip
    while needs:
        ready = {name for name, found in needs.items() if not found}
        assert ready, f"a circle among {needs}"
        needs = {name: found - ready for name, found in needs.items() if name not in ready}


@pytest.mark.parametrize("simulated", [True, False])
def test_datasets_have_what_is_asked_of_one(values, simulated):
    dataset = dataset_of(Config.model_validate(values) if simulated else real())
    asked = [name for name in vars(Dataset) if not name.startswith("_")]
    asked += list(Dataset.__annotations__)
    assert {"check", "stimulus_s"} < set(asked)
    for name in asked:
        assert hasattr(dataset, name), name
        if callable(wanted := getattr(Dataset, name, None)):
            own = inspect.signature(getattr(type(dataset), name))
            assert own == inspect.signature(wanted), name


def test_numbers_of_nsd(values):
    config = Config.model_validate(values)
    dataset, subject = dataset_of(config), config.subjects["subj01"]
    assert (dataset.task_runs(subject), dataset.trials(subject)) == (48, 3000)
    assert dataset.samples(config.preprocessing["nsd_prep"]) == 12 * 225
    assert dataset.samples(config.preprocessing["fmriprep"]) == 12 * 188
    assert dataset.samples(config.preprocessing["betas"]) == 750
    assert dataset.download(Betas(kind="betas", file="hdf5"), subject) == (
        "betas of a session",
        2 * 12 * 14 * 11 * 750,
    )
    what, size = dataset.download(config.preprocessing["fmriprep"], subject)
    assert (what, size) == ("raw BOLD of a subject", 0)


def test_the_sampling_period_reaches_jobs():
    settings = NsdPrep(kind="nsd_prep", detrend="cosine")
    dumped = NsdPrep.model_validate_json(settings.model_dump_json())
    assert settings.model_dump()["tr_s"] == dumped.tr_s == TR_S
    assert settings.model_dump()["first_volume_s"] == 0
    assert Fmriprep(kind="fmriprep").tr_s == 1.6


def test_rows_have_the_sampling_period_of_their_series(values):
    plan = Plan(load_config(values))
    periods = {
        row["run"]: row["tr_s"]
        for item in ("table_1", "table_4", "table_5")
        for row in plan._rows_of("paper", [item])[item]
    }
    assert (periods["dynadiff"], periods["dynadiff_betas"]) == (TR_S, None)
    assert periods["dynadiff_fmriprep"] == 1.6


def test_only_a_simulated_dataset_has_a_known_answer_and_no_terms(values):
    plan = Plan(load_config(values))
    assert plan.known_answer("demo") == ["results/miniature/demo/known_answer.json"]
    assert "nsd_terms_accepted" not in Jobs(plan.config).source(None)
    plan = Plan(real())
    assert plan.known_answer("paper") == []
    assert '"nsd_terms_accepted": false' in Jobs(plan.config).source(None)


def test_every_checked_item_has_a_check():
    source = inspect.getsource(checks.findings)
    assert [item for item in CHECKED if f'"{item}"' not in source] == []


@pytest.mark.survives(
    "results",
    "A real dataset is to be served from a folder, as the simulated one is",
    "It is refused when the configuration is read: a copy of the bucket is named as `raw`",
)
def test_a_real_dataset_is_not_served(tmp_path):
    (tmp_path / "mine.yaml").write_text("s3: {serve: bucket}")
    with pytest.raises(UserError, match=r"s3\.serve: bucket would be served as a simulated"):
        real(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"main": {"start_s": 3.0, "n_tr": 225}}, "windows.main: ends 303 s after"),
        ({"main": {"start_s": 3.0, "n_tr": 6, "shift": 217}}, "windows.main: ends 300 s after"),
        ({"main": {"start_s": 285.0, "n_tr": 6}}, r"windows\.main\+6: ends 301 s after"),
    ],
)
def test_windows_end_within_a_run(values, change, found):
    values["windows"] |= change
    with pytest.raises(ValidationError, match=found):
        Config.model_validate(values)


def test_subjects_are_named_as_in_the_bucket(values):
    values["subjects"]["subj01"]["number"] = 3
    with pytest.raises((ValidationError, UserError), match="number 3 is subj03 in the bucket"):
        Config.model_validate(values)
