"""The subjects that the paper leaves out: fewer sessions, on the real design."""

import pytest
import scipy.io

from boldvision.config.load import load_config
from boldvision.datasets.miniature.experiment import run_designs
from boldvision.datasets.nsd.design import read_experiment_design
from boldvision.datasets.nsd.trials import check_against_designs, trial_table
from boldvision.plan import Plan
from boldvision.trials import splits
from tests.unit.config_data import NSD, ROOT, values_of
from tests.unit.test_trials import write_designs

REAL = ROOT.parent / "shared" / "nsd_real" / "nsd_expdesign.mat"
TRIALS = {  # of the standard split: test, and its images; train (MindEye's index of the trials)
    "subj03": (2371, 930, 21629),
    "subj04": (2188, 907, 20312),
    "subj06": (2371, 930, 21629),
    "subj08": (2188, 907, 20312),
}


@pytest.fixture(scope="module")
def config():
    return load_config(values_of(NSD))


def test_they_are_in_no_scope(config):
    scopes = {name for scope in config.scopes.values() for name in scope.subjects}
    assert scopes == {"subj01", "subj02", "subj05", "subj07"}
    assert set(config.subjects) == scopes | set(TRIALS)


def test_a_scope_may_name_them(config):
    mine = {"items": ["table_1"], "subjects": ["subj08"], "specialized_shifts": []}
    values = values_of(NSD)
    values["scopes"]["mine"] = mine
    plan = Plan(load_config(values))
    assert {e.subject for e in plan.items["mine", "table_1"]} == {"subj08"}


@pytest.mark.skipif(not REAL.exists(), reason="needs the real nsd_expdesign.mat")
@pytest.mark.parametrize("name", TRIALS)
def test_real_trial_tables(config, name, tmp_path):
    subject = config.subjects[name]
    table = trial_table(read_experiment_design(REAL, config.design), subject)
    designs = run_designs(scipy.io.loadmat(REAL), subject.number)[: subject.sessions]
    write_designs(tmp_path / "design", designs, subject.rest_sessions, name)
    assert len([*(tmp_path / "design").iterdir()]) == 12 * subject.sessions + 2 * 10
    check_against_designs(table, tmp_path / "design", name, subject)
    assert len(table) == 750 * subject.sessions
    tested = table[splits.find("standard")(table) == "test"]
    assert (len(tested), tested["image_id"].nunique(), len(table) - len(tested)) == TRIALS[name]
