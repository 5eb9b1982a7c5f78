"""What a scope needs from a network."""

import pytest

from boldvision.config.load import load_config
from boldvision.downloads import downloads, raw_bytes, sessions_used
from boldvision.plan import Plan
from tests.unit.config_data import NSD, runs_table, values_of, write_runs_table

SESSION = "resources/nsd/nsddata_timeseries/ppdata/subj01/func1pt8mm/timeseries/session{:02d}"
GENERATOR = "resources/generators/versatile-diffusion"


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """The plan of NSD with what is changed, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def make(items, **changes):
        values = values_of(NSD) | changes
        values["runs_table"] = write_runs_table(runs_table(), tmp_path / "runs.tsv")
        mine = {"items": items, "subjects": ["subj01", "subj03"], "specialized_shifts": [1]}
        return Plan(load_config(values | {"scopes": values["scopes"] | {"mine": mine}}))

    return make


def test_a_table_needs_every_session_once(plan):
    found = downloads(plan(["table_1", "table_6"]), "mine")
    assert len(found) == len(set(found)) == 1 + 2 * 3 + (40 + 32) + 1
    assert {SESSION.format(n) for n in range(1, 41)} < set(found)
    assert GENERATOR in found


def test_a_figure_needs_its_subject_alone(plan):
    assert sessions_used(plan(["figure_5"]), "mine") == {("nsd_prep", "subj01"): 40}


def test_each_preprocessing_has_raw_data_of_its_own(plan):
    found = downloads(plan(["table_4", "table_5"]), "mine")
    assert sum("/betas/" in file for file in found) == 40 + 32
    assert sum("/rawdata/" in file for file in found) == 2
    assert sum("/timeseries/" in file for file in found) == 40 + 32  # a row of table 5


def test_existing_derivatives_are_not_fetched(plan):
    mine = values_of(NSD)["preprocessing"]
    mine["fmriprep"] |= {"derivatives": "fmriprep"}
    found = downloads(plan(["table_5"], preprocessing=mine), "mine")
    assert not [file for file in found if "/rawdata/" in file]


@pytest.mark.survives(
    "patience",
    "`snakemake downloads` again, when sessions were prepared and their raw data removed",
    "They are not fetched again, unless `keep_raw` asks for them",
)
@pytest.mark.parametrize("keep_raw", [False, True])
def test_what_is_prepared_is_fetched_again_only_to_be_kept(plan, tmp_path, keep_raw):
    prepared = tmp_path / "results/nsd/bold/nsd_prep/subj01/session07.npy"
    prepared.parent.mkdir(parents=True)
    prepared.touch()
    found = downloads(plan(["table_1"], keep_raw=keep_raw), "mine")
    assert (SESSION.format(7) in found) is keep_raw
    assert SESSION.format(8) in found


def test_files_that_decoders_declare_are_needed_where_they_are_run(plan, monkeypatch):
    from boldvision.decoders.mean_image.settings import Run
    from boldvision.targets.settings import BaseTarget

    monkeypatch.setattr(Run, "downloads", lambda _: ("resources/captions.json",))
    monkeypatch.setattr(BaseTarget, "downloads", lambda _: ("resources/atlas.nii.gz",))
    declared = {"resources/captions.json", "resources/atlas.nii.gz"}
    assert declared < set(downloads(plan(["table_1"]), "mine"))
    assert "resources/captions.json" not in downloads(plan(["figure_5"]), "mine")


def test_raw_data_are_counted_once(plan):
    found = raw_bytes(plan(["table_1", "table_3", "table_4"]), "mine")
    assert list(found) == ["time series", "betas"]
    assert found["time series"] == pytest.approx(92e9, rel=0.05)
