"""The real configuration for one small card: what it says of itself is what the plan counts."""

import re

import pytest

from boldvision.config.load import load_config
from boldvision.costs import costs
from boldvision.downloads import raw_bytes
from boldvision.plan import Plan
from tests.unit.config_data import NSD, ROOT, values_of

SMALL = ROOT / "config" / "nsd_small.yaml"


@pytest.fixture(scope="module")
def plan():
    return Plan(load_config(values_of(NSD, str(SMALL))))


def test_it_states_what_the_plan_counts(plan):
    total = costs(plan, "small", plan.items_of("small"), measured=False)[-1]
    text = SMALL.read_text()
    for stage, hours in (("training", total.training_hours), ("testing", total.testing_hours)):
        stated = re.search(rf"^#   {stage} +(\d+) to (\d+) hours", text, re.MULTILINE)
        assert list(map(int, stated.groups())) == [round(hours.least), round(hours.most)]
    stated = re.search(r"^#   disk +(\d+) GB; raw data are (\d+) GB", text, re.MULTILINE)
    sizes = [total.bytes, sum(raw_bytes(plan, "small").values())]
    assert list(map(int, stated.groups())) == [round(size / 1e9) for size in sizes]


def test_it_is_one_general_model(plan):
    rows = [e for item in plan.items_of("small") for e in plan.items["small", item]]
    assert {(e.run, e.subjects, e.window) for e in rows} == {
        ("dynadiff_time_resolved", "subj01", "main")
    }
