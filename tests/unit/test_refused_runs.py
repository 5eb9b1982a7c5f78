"""Runs that would fail in the middle, or show nothing: refused before anything runs."""

import copy
import re

import pandas as pd
import pytest
from config_data import ROOT

from boldvision.config import Betas, Window
from boldvision.config.load import load_config
from boldvision.config_docs import read_config
from boldvision.errors import UserError
from boldvision.runs_table import COLUMNS, evaluations
from boldvision.trials.windows import first_samples

FILES = {"miniature": ["config.yaml"], "nsd": ["config.yaml", "nsd.yaml"]}
CONFIGS = {
    name: read_config([str(ROOT / "config" / file) for file in files]).model_dump(mode="json")
    for name, files in FILES.items()
}
BETAS = Betas(kind="betas")


def changed(dataset="miniature", **sections):
    """The configuration with entries of these sections laid over it."""
    values = copy.deepcopy(CONFIGS[dataset])
    for section, entries in sections.items():
        for name, settings in entries.items():
            values[section][name] = values[section].get(name, {}) | settings
    return values


def planned(values, scope="paper", **line):
    """Evaluations of one line of a runs table."""
    line = {
        "item": "figure_9", "row": "Dynadiff", "run": "dynadiff", "sessions": "all",
        "subjects": "each", "window": "main", "test_set": "own", "metrics": "all",
    } | line  # fmt: skip
    config = load_config(values)
    return evaluations(config, pd.DataFrame([line], columns=COLUMNS), scope, line["item"])


def sessions(n, *names):
    return {name: {"sessions": n, "rest_sessions": []} for name in names}


ALL = ("subj01", "subj02", "subj05", "subj07")


@pytest.mark.survives(
    "results",
    "A scope's `few_sessions`, or a run's `sessions`, are more than a subject has",
    "Refused when the configuration is read; the key, the subject and its sessions are named",
)
@pytest.mark.parametrize(
    ("dataset", "sections", "told"),
    [
        (
            "nsd",
            {"subjects": sessions(37, *ALL)},
            "scopes.paper.few_sessions: 40 sessions are more than subj01 has, 37; lower it",
        ),
        (
            "miniature",
            {"scopes": {"demo": {"few_sessions": [1, 5]}}},
            "scopes.demo.few_sessions: 5 sessions are more than subj01 has, 4",
        ),
        (
            "miniature",
            {"runs": {"mine": {"base": "dynadiff", "sessions": 5}}},
            "runs.mine.sessions: 5 sessions are more than subj01 has, 4",
        ),
        (
            "miniature",
            {
                "subjects": sessions(3, "subj07"),
                "runs": {"dynadiff_joint": {"base": "dynadiff", "sessions": 4}},
            },
            "runs.dynadiff_joint.sessions: 4 sessions are more than subj07 has, 3",
        ),
    ],
)
def test_more_sessions_than_there_are(dataset, sections, told):
    with pytest.raises(UserError, match=rf"^the configuration is wrong:\n  {re.escape(told)}.*$"):
        load_config(changed(dataset, **sections))


def test_subjects_of_fewer_sessions_take_part_in_what_they_have():
    """Figure 9 is of the first subject: a later one may have fewer sessions than it shows."""
    values = changed("nsd", subjects=sessions(32, "subj07"))
    few = planned(values, sessions="few", subjects="first")
    assert [e.run for e in few][-2:] == ["dynadiff-20sessions", "dynadiff"]
    for subjects in ("each", "joint"):
        with pytest.raises(
            UserError, match=r"figure_9: scopes\.paper\.few_sessions: 40 .* than subj07 has, 32"
        ):
            planned(values, sessions="few", subjects=subjects)


def test_a_run_of_more_sessions_than_its_subject_has():
    values = changed(
        subjects=sessions(3, "subj07"), runs={"mine": {"base": "dynadiff", "sessions": 4}}
    )
    assert planned(values, run="mine", subjects="first")
    with pytest.raises(UserError, match=r"runs\.mine\.sessions: 4 .* than subj07 has, 3"):
        planned(values, run="mine")


@pytest.mark.survives(
    "results",
    "A curve over time is asked of betas, which are one sample per trial",
    "Refused when the runs table is read; the item, the run and the window are named",
)
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"window": "main"}, r"window main: .* found start_s 3, n_tr 6, shift \+0"),
        ({"window": "betas+2"}, r"window betas\+2: .* found start_s 0, n_tr 1, shift \+2"),
        ({"window": "specialized"}, r"window main-3: .* one sample per trial"),
        ({"test_set": "shifts"}, "window main-8: .* one sample per trial"),
        ({"test_set": "late"}, "window main: "),
        ({"test_set": "two"}, r"expected one in test_sets\.two, found own, betas"),
    ],
)
def test_betas_have_no_time(line, told):
    values = changed(
        test_sets={
            "late": {"windows": ["main"], "trials": "all"},
            "two": {"windows": ["own", "betas"], "trials": "all"},
        }
    )
    with pytest.raises(UserError, match=f"figure_9: run dynadiff_betas: .*{told}"):
        planned(values, **{"run": "dynadiff_betas", "window": "betas"} | line)
    assert len(planned(values, run="dynadiff_betas", window="betas")) == 4


@pytest.mark.parametrize("window", [(3.0, 1, 0), (0.0, 6, 0), (0.0, 1, 2)])
def test_no_window_of_betas_moves(window):
    trials = pd.DataFrame({"trial": [0, 1], "session": 1, "place": [0, 1]})
    start_s, n_tr, shift = window
    with pytest.raises(UserError, match="betas are one sample per trial"):
        first_samples(trials, Window(start_s=start_s, n_tr=n_tr, shift=shift), BETAS)
    series, first = first_samples(trials, Window(start_s=0, n_tr=1), BETAS)
    assert (series.tolist(), first.tolist()) == ([0, 1], [0, 0])
