"""Settings of a stage."""

import json

import pytest

from boldvision import cli


@pytest.mark.survives(
    "names",
    "`--settings` is no JSON, no object, or the path of a file that is not there",
    "The stage stops with one line that says which",
)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "--settings: expected a JSON object of settings, found "),
        ('{"a": ' * 100_000, "--settings: expected a JSON object of settings, found "),
        ("absent.json", "absent.json: expected a JSON object of settings, found no file"),
        ("list.json", "list.json: expected a JSON object of settings, found a list"),
        ("page.json", "page.json: expected a JSON object of settings, found "),
        (".", "Is a directory"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_settings_that_are_none(tmp_path, monkeypatch, capsys, settings, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "page.json").write_bytes(b"<html>\xff</html>")
    files = ["--roi", "roi.nii.gz", "--out", "voxels.npz"]
    assert cli.main(["voxels", *files, "--settings", settings]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.survives(
    "names",
    "A stage is called by hand with settings that are out of bounds or misspelt",
    "The stage stops with one line that names each key and what was found",
)
def test_settings_out_of_bounds(capsys):
    settings = json.dumps({"subject": {"number": 9, "sessions": 1, "grid": [1, 1, 1], "voxel": 1}})
    files = ["--roi", "roi.nii.gz", "--out", "voxels.npz"]
    assert cli.main(["voxels", *files, "--settings", settings]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "boldvision voxels: --settings: number: " in told
    assert "found 9" in told
    assert "voxel: there is no such key" in told


def test_other_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setitem(cli.STAGES, "wrong", (__name__, ""))
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main(["wrong"])


def main(argv):
    """Stage `wrong`."""
    int("x")


def test_settings_as_text_or_file(tmp_path):
    settings = {"a": [1, {"b": None}]}
    (tmp_path / "s.json").write_text(json.dumps(settings))
    for given in (json.dumps(settings), f"\n {json.dumps(settings)}", str(tmp_path / "s.json")):
        assert cli.settings_from(given) == settings
