"""What a configuration may not say: names that are commands, numbers that are nonsense."""

import re

import pytest
from config_data import runs_table, write_runs_table
from whole_config import changed, places, renamed, whole_config

from boldvision import plugins
from boldvision.config import Config
from boldvision.config.load import load_config
from boldvision.config.messages import EXPECTED
from boldvision.config.section import NAME, WORD
from boldvision.config_docs import LIMITS
from boldvision.errors import UserError
from boldvision.metrics.measures import MEASURES
from boldvision.plan import Plan
from boldvision.runs_table import read_runs

HOSTILE = ("a$(touch PWNED)", "../../../escaped", "{x}", "-x")
SHOWN = "a line that is shown"
YOURS = "a file or folder of the user's choice; quoted wherever it is a word of a command"
FREE_TEXT = {
    "coco.folder": YOURS,
    "costs.gpu": SHOWN,
    "costs.source": SHOWN,
    "generators.*.label": SHOWN,
    "metrics.networks.*.label": SHOWN,
    "generators.*.folder": YOURS,
    "metrics.networks.*.weights": "pretrained or random, checked where the network is made",
    "metrics.weights_folder": YOURS,
    "networks.*.folder": YOURS,
    "networks.*.label": SHOWN,
    "preprocessing.*.derivatives": YOURS,
    "preprocessing.*.job.image": "an image file or the name of an image; travels as JSON",
    "preprocessing.*.job.licence": YOURS,
    "preprocessing.*.job.work": YOURS,
    "raw": YOURS,
    "runs.*.high_level.deepspeed": YOURS,
    "runs.*.low_level.deepspeed": YOURS,
    "runs.*.training.deepspeed": YOURS,
    "runs.*.weights": YOURS,
    "runs_table": YOURS,
    "s3.serve": YOURS,
}
"""Strings that are neither names nor choices; the workflow's tests show that they stay inert."""

FREE_NUMBERS = {
    ("windows.*.start_s", -5): "windows before the image test for leaks",
    ("windows.*.shift", -5): "so do shifts",
    ("scopes.*.specialized_shifts.*", -5): "so do shifts",
    ("figures.figure_4.shifts.*", -5): "so do shifts",
}
KINDS = [
    getattr(plugins.module(package, name, "settings"), model)
    for package, model in (("decoders", "Run"), ("targets", "Target"), ("networks", "Network"))
    for name in plugins.found(package)
]
SCHEMAS = [model.model_json_schema() for model in (Config, *KINDS)]
NAMED = (
    "subjects", "preprocessing", "windows", "test_sets", "generators", "targets", "networks",
    "runs", "scopes",
)  # fmt: skip
READ_ONE_BY_ONE = ("runs", "targets", "networks")
"""Sections of which each entry is read by the schema of its own kind."""


@pytest.fixture(scope="module")
def values():
    return whole_config()


def pattern(path):
    """The place with names and positions as *."""
    many = {(name,) for name in NAMED} | {("metrics", "sets"), ("metrics", "networks")}
    parts = ["*" if isinstance(k, int) or path[:i] in many else k for i, k in enumerate(path)]
    return ".".join(parts)


def refused(values, read=load_config):
    try:
        read(values)
    except UserError as error:
        return str(error)
    return ""


def planned(values):
    return Plan(load_config(values))


@pytest.mark.survives(
    "names",
    "A name in the configuration is a shell command, a path or an option",
    "Refused before anything runs; names are a-z, 0-9 and _",
)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_key_can_be_hostile(values, hostile):
    keys = [path for path, value in places(values) if not isinstance(path[-1], int)]
    names = {path[-1] for path in keys if "*" in pattern(path)[-1]}
    assert {"subj01", "nsd_prep", "main", "shifts", "tiny", "dynadiff", "demo", "curve"} < names
    for name in sorted(names):
        message = refused(renamed(values, name, hostile))
        assert re.search(r"expected (a|the) name|is subj0\d", message), name
    for path in keys:
        assert refused(changed(values, (*path[:-1], hostile), 1)), path


@pytest.mark.survives(
    "names",
    "A string in the configuration is a shell command, a path or an option",
    "Refused, or, where any text is allowed, quoted",
)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_string_can_be_hostile_but_the_free_ones(values, hostile):
    texts = [path for path, value in places(values) if isinstance(value, str)]
    accepted = {pattern(path) for path in texts if not refused(changed(values, path, hostile))}
    misread = hostile in ("{x}", "-x")  # a wildcard of Snakemake's, an option
    assert accepted == {p for p, why in FREE_TEXT.items() if not (misread and why == YOURS)}


@pytest.mark.survives(
    "names",
    "A cell of the runs table is a shell command or a path",
    "Refused; the table and the cell are named",
)
@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("column", ["item", "run", "sessions", "subjects", "window", "metrics"])
def test_no_cell_of_the_runs_table_can_be_hostile(values, column, hostile, tmp_path):
    runs = runs_table()
    runs.loc[0, column] = hostile
    table = write_runs_table(runs, tmp_path / "runs.tsv")
    told = refused(values | {"runs_table": table}, planned)
    assert table in told
    assert repr(hostile) in told


def test_rows_of_the_runs_table_are_lines(values, tmp_path):
    for row, told in (("", "at least 1 character"), ("a\nb", "one line of text")):
        runs = runs_table()
        runs.loc[2, "row"] = row
        table = write_runs_table(runs, tmp_path / "runs.tsv")
        with pytest.raises(UserError, match=rf"runs\.tsv: line 3 below the header: row: .*{told}"):
            read_runs(table)


@pytest.mark.survives(
    "names",
    "A number of the configuration is nan, infinite, negative or beyond all measure",
    "Refused; the key is named, and what it should be",
)
@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -5, 1e30])
def test_no_number_can_be_nonsense(values, nonsense):
    numbers = [
        path for path, value in places(values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]  # fmt: skip
    assert len({pattern(path) for path in numbers}) > 60
    for path in numbers:
        if (pattern(path), nonsense) not in FREE_NUMBERS:
            message = refused(changed(values, path, nonsense))
            assert ".".join(map(str, path[:2])) in message, path


def test_every_key_has_a_value_to_change(values):
    """So that the tests above leave none out."""
    keys = [(path, value) for path, value in places(values)]
    filled = {pattern(path) for path, value in keys if value not in (None, [], {})}
    assert {pattern(path) for path, _ in keys} == filled | {"plugins"}  # folders, as others are
    found = {path[-1] for path, _ in keys}
    for schema in SCHEMAS:
        for section in (schema, *schema.get("$defs", {}).values()):
            assert set(section.get("properties", {})) <= found, section["title"]


def test_every_field_has_a_pattern_or_bounds():
    """A field that is added, whatever its default."""
    for path, part in (one for schema in SCHEMAS for one in places(schema)):
        if not isinstance(part, dict):
            continue
        if path[-2:-1] == ("properties",):
            assert set(part) & {"type", "$ref", "anyOf", "oneOf", "const", "enum"}, path
        if part.get("type") == "string" and "endpoint" not in path:  # which code looks at
            assert part.keys() & {"enum", "const"} or part["pattern"] in EXPECTED, path
        if part.get("type") in ("integer", "number"):
            assert len(part.keys() & LIMITS.keys()) == 2, path
        if part.get("type") == "object" and path[1:2] not in [(n,) for n in READ_ONE_BY_ONE]:
            named = part.get("patternProperties", {}).keys() in ({NAME}, {WORD})
            assert named or part["additionalProperties"] is False, path


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("windows.Main", {"start_s": 3.0, "n_tr": 6}, "a name of a-z, 0-9 and _, a letter first"),
        ("raw", "{here}", "raw: expected a path in one line, without { and }, and without a dash"),
        ("windows.main.ntr", 6, "windows.main.ntr: there is no such key; config/README.md"),
        ("preprocessing.mine", {}, "preprocessing.mine: the key 'kind' is missing"),
        (
            "preprocessing.betas.kind",
            "x",
            "betas: 'kind': expected 'nsd_prep', 'betas', 'fmriprep'",
        ),
        ("preprocessing.fmriprep.volumes", 0, "preprocessing.fmriprep.volumes: Input should be"),
        ("runs.mine", {"decoder": "mean_image"}, "runs.mine.split: the key is missing"),
        ("subjects.subj01", None, "subjects.subj01: expected keys and their values"),
    ],
)
def test_a_fault_is_a_sentence(values, place, value, told):
    message = refused(changed(values, place.split("."), value))
    assert told in message
    assert isinstance(value, dict | None) or f"found {value!r}" in message or "no such" in message
    assert not re.search(r"\[key\]|pattern|Value error|Extra inputs|tag", message)


@pytest.mark.survives(
    "names",
    "Settings that contradict each other: a window beyond its run, more rest than sessions",
    "Refused; the setting is named, and what is wrong with it",
)
@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("windows.main", {"start_s": 3.0, "n_tr": 225}, "windows.main: ends 303 s after"),
        ("windows.main.n_tr", True, "windows.main: `n_tr`: found true, as YAML"),
        (
            "runs.dynadiff.training.precision",
            False,
            "training: .*`precision`: found false, as YAML",
        ),
        ("runs.dynadiff.base", ["a"], r"""runs: "\['a'\]" is not in `runs`"""),
        ("windows.own", {"start_s": 3.0, "n_tr": 1}, "windows.own: the name has a meaning"),
        (
            "test_sets.own.windows",
            ["main+224"],
            r"windows\.main\+224: ends 310 s after the onset: expected a stretch of a run",
        ),
        ("scopes.demo.specialized_shifts", [224], r"figure_4: windows\.main\+224: ends 310 s"),
        (
            "windows.main",
            {"start_s": -290, "n_tr": 6, "shift": -9},
            r"windows\.main: begins 302 s before the onset: expected a stretch of a run of 300 s",
        ),
        ("subjects.subj01.rest_sessions", [3, 5], r"\[5\] are beyond `sessions`, 4"),
        ("subjects.subj01.rest_sessions", [3, 3], "rest_sessions: 3: listed twice"),
        ("subjects.subj01.voxels", 12 * 14 * 11 + 1, "`voxels`: 1849 are more than `grid` has"),
        ("subjects.subj02.number", 1, "subjects.subj02: number 1 is subj01 in the bucket"),
        ("scopes.demo.subjects", ["subj01", "subj01"], "subjects: subj01: listed twice"),
        ("runs.dynadiff_pretrained.pretrained.subjects", ["subj02", "subj02"], "listed twice"),
        ("scopes.demo.items", ["table_1", "table_1"], "items: table_1: listed twice"),
        ("test_sets.own.windows", ["main", "main"], "windows: main: listed twice"),
        ("metrics.sets.curve", ["ssim", "ssmi"], "metrics.sets.curve.1: Input should be 'ssim'"),
        ("metrics.sets.curve", [], "metrics.sets.curve: .*at least 1 item"),
        ("gallery.metrics", ["best"], "gallery.metrics.0: Input should be 'ssim'"),
        ("time_resolved_test_runs", 48, "48 of the 48 task runs of subj01 leave none"),
        ("design.shared_images", 1001, "expected shared_images ≤ images_per_subject ≤ images"),
    ],
)
def test_settings_agree(values, place, value, told):
    assert re.search(told, refused(changed(values, place.split("."), value), planned))


def test_metrics_are_those_that_exist():
    names = Config.model_json_schema()["$defs"]["Comparison"]["properties"]["metric"]["enum"]
    assert names == list(MEASURES)
