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


def test_settings_as_text_or_file(tmp_path):
    settings = {"a": [1, {"b": None}]}
    (tmp_path / "s.json").write_text(json.dumps(settings))
    for given in (json.dumps(settings), f"\n {json.dumps(settings)}", str(tmp_path / "s.json")):
        assert cli.settings_from(given) == settings
