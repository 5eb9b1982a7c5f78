"""What the rules of the figures ask of the plan, and their captions."""

from types import SimpleNamespace

import jinja2
import pytest
from config_data import ROOT, values_of
from docutils.core import publish_parts

from boldvision.config.load import load_config
from boldvision.plan import Plan

CAPTIONS = ROOT / "workflow" / "report"


@pytest.fixture(scope="module")
def plan():
    return Plan(load_config(values_of()))


def caption(name, wildcards, miniature):
    job = SimpleNamespace(
        wildcards=SimpleNamespace(**wildcards),
        params=SimpleNamespace(blur_faces=True, metric="pixcorr", images=6, all_sessions=40),
        config={"miniature": {"seed": 0}} if miniature else {},
    )
    text = (CAPTIONS / f"{name}.rst").read_text()
    rendered = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text)
    body = rendered.render(snakemake=job)
    publish_parts(body, writer_name="html", settings_overrides={"halt_level": 2})
    return body


@pytest.mark.parametrize(
    ("item", "variant", "split"),
    [
        ("figure_4", "", "time_resolved"),
        ("figure_5", "_leakage_free", "time_resolved_leakage_free"),
        ("temporal_generalization", "_leakage_free", "time_resolved_leakage_free"),
    ],
)
def test_a_variant_has_its_split(item, variant, split, plan):
    wildcards = SimpleNamespace(scope="demo", variant=variant)
    wildcards.items = lambda: [("scope", "demo"), ("variant", variant)]
    assert plan.split(f"{item}{{variant}}")(wildcards) == split
    rows = plan.rows(f"{item}{{variant}}")(wildcards)
    assert {plan.config.run(row["run"]).split for row in rows} == {split}


def test_every_subject_has_stimuli_once(plan):
    wildcards = SimpleNamespace(scope="paper", items=lambda: [("number", "8")])
    folder = "resources/miniature/images"
    assert plan.stimuli("figure_{number}")(wildcards) == [
        f"{folder}/subj{number}.h5" for number in ("01", "02", "05", "07")
    ]
    assert len(plan.stimuli("figure_3")(wildcards)) == 2


@pytest.mark.parametrize("miniature", [True, False])
@pytest.mark.parametrize(
    ("name", "wildcards", "target"),
    [
        ("figure_3", {}, "figure_3"),
        ("figure_4", {"variant": ""}, "figure_4"),
        ("figure_5", {"variant": "_leakage_free"}, "figure_5_leakage_free"),
        ("figure_6", {}, "figure_6"),
        ("figure_7_8", {"number": "7"}, "figure_7"),
        ("figure_7_8", {"number": "8"}, "figure_8"),
        ("figure_9", {}, "figure_9"),
        ("leakage", {}, "leakage"),
        ("temporal_generalization", {"variant": ""}, "temporal_generalization"),
    ],
)
def test_captions_say_how_to_make_the_figure(name, wildcards, target, miniature, plan):
    body = caption(name, wildcards, miniature)
    assert target in plan.item_names
    assert f"Alone: ``snakemake {target}``" in body
    assert f"``snakemake {target} --configfile config/nsd.yaml``" in body
    assert ("simulated" in body) is miniature
    if "variant" in wildcards:
        assert ("leakage-free split" in body) is bool(wildcards["variant"])
    if "number" in wildcards:
        assert ("the worst first" in " ".join(body.split())) is (wildcards["number"] == "8")
