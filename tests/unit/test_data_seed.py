"""Another seed trains and samples anew on the same trials; another data seed draws others."""

import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from config_data import ROOT
from decoder_data import NSD_PREP, trial_table

from boldvision import config
from boldvision.config_docs import read_config
from boldvision.decoders import reconstruct
from boldvision.decoders.mean_image import decoder
from boldvision.decoders.record import write_model_record
from boldvision.jobs import Jobs
from boldvision.trials import splits, table
from boldvision.trials.splits import standard

RUN = {"decoder": "mean_image", "split": "standard", "preprocessing": "nsd_prep", "image_px": 4}
MODEL = {"run": "dynadiff", "subjects": "subj01", "window": "main"}


class Stripes:
    """A decoder that shows nothing."""

    label = ""

    def reconstruct(self, windows, subject, keys):
        return np.tile(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), (len(windows), 1, 1, 1))


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Trials that the stage `reconstruct` takes, by its seeds."""
    monkeypatch.setattr(decoder, "load", lambda _: Stripes())
    trials, files = trial_table(20, n_test=10), ("trials", "split", "images", "bold")
    paths = {name: tmp_path / name for name in files}
    table.write_trials(trials, paths["trials"])
    table.write_split(trials, standard.split(trials), paths["split"])
    (tmp_path / "bold").mkdir()
    np.save(tmp_path / "bold" / "session01.npy", np.zeros((12, 225, 2), np.float32))
    (tmp_path / "model").mkdir()
    write_model_record(tmp_path / "model", "mean_image", [])
    data = {"subj01": {name: str(path) for name, path in paths.items()} | {"targets": {}}}

    def take(seed, data_seed):
        settings = {
            "run": RUN,
            "preprocessing": NSD_PREP.model_dump(),
            "generators": {},
            "windows": {"main": config.Window(start_s=3.0, n_tr=2).model_dump()},
            "trials": "one_repetition",
            "data_seed": data_seed,
        }
        out = tmp_path / f"{seed}-{data_seed}"
        words = ["--settings", json.dumps(settings), "--data", json.dumps(data)]
        words += ["--seed", str(seed), "--model", str(tmp_path / "model"), "--out", str(out)]
        reconstruct.main(words)
        with h5py.File(out / "main.h5") as file:
            return file["trial"][:].tolist()

    return take


def test_a_seed_draws_no_repetition(drawn):
    assert drawn(0, 0) == drawn(1, 0)
    assert drawn(0, 0) != drawn(0, 1)
    assert len(drawn(2, 2)) == 10


def test_jobs_are_told_the_data_seed():
    def told(**seeds):
        values = read_config([str(ROOT / "config" / "config.yaml")]).model_dump(mode="json")
        jobs = Jobs(config.Config.model_validate(values | seeds))
        wildcards = SimpleNamespace(**MODEL, seed="0", subject="subj01", test_set="single_trial")
        return jobs.reconstruction_settings(wildcards)

    assert told() == told(seed=1)
    assert told() != told(data_seed=1)
    assert json.loads(told(data_seed=1))["data_seed"] == 1


@pytest.mark.survives(
    "results",
    "Another `data_seed` is set after models were trained",
    "Splits that draw are made again, with their models; nothing of the standard split is",
)
def test_what_draws_nothing_is_told_no_seed():
    def told(split, test_set, **changed):
        values = read_config([str(ROOT / "config" / "config.yaml")]).model_dump(mode="json")
        jobs = Jobs(config.Config.model_validate(values | changed))
        tested = SimpleNamespace(**MODEL, seed="0", subject="subj01", test_set=test_set)
        wildcards = SimpleNamespace(split=split)
        return jobs.split_settings(wildcards), jobs.reconstruction_settings(tested)

    for changed in ({"data_seed": 1}, {"time_resolved_test_runs": 3}):
        assert told("standard", "own", **changed) == told("standard", "own")
        for split in set(splits.names()) - {"standard"}:
            assert told(split, "own", **changed)[0] != told(split, "own")[0]
