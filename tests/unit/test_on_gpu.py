"""The script that a card is tried with, on a CPU: all of its parts that need no card."""

import importlib
import json
import sys
import time
from contextlib import suppress

import pytest
from config_data import ROOT

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        patch.chdir(ROOT)
        yield importlib.import_module("on_gpu")
    for name in [name for name in sys.modules if name.startswith(("on_gpu", "bench_training"))]:
        del sys.modules[name]


def test_all_that_a_cpu_can_do_holds(script, tmp_path, monkeypatch, capsys):
    out = tmp_path / "on_gpu.json"
    nothing = {"targets": {}, "decoders": {}, "scores": {}}  # test_benchmark.py shows it
    monkeypatch.setattr(script.speed, "measure", lambda *arguments: nothing)
    assert script.main(["--small", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    parts = found["parts"]
    assert list(parts) == list(script.PARTS)
    assert {name for name, part in parts.items() if "skipped" in part} == {"lease"}
    right = {"flash_attention", "curve", "half_precision", "resume", "two_processes",
             "benchmark_gpu"}  # fmt: skip
    assert {name for name, part in parts.items() if part.get("holds")} == right
    assert parts["curve"]["difference"] == parts["resume"]["difference"] == 0
    assert parts["resume"]["resumed_at"] > 0
    assert all(parts[name]["samples_per_s"] > 0 for name in parts if name.startswith("step"))
    assert [goal["at_least"] for goal in found["goals"]] == [0.45, 3]
    assert "(goal: at least 0.45)" in capsys.readouterr().out


def test_a_part_that_fails_or_hangs_does_not_end_the_others(script, tmp_path, monkeypatch):
    def breaks(study):
        raise RuntimeError("CUDA error")

    def hangs(study):
        while True:
            with suppress(Exception):  # as what measures several parts takes up the fault of one
                time.sleep(10)

    parts = dict.fromkeys(script.PARTS, lambda study: {"holds": True})
    parts |= {"curve": breaks, "resume": hangs, "lease": lambda study: {"holds": False}}
    monkeypatch.setattr(script, "PARTS", parts)
    monkeypatch.setattr(script, "LONGEST_S", 0.2)
    out = tmp_path / "on_gpu.json"
    assert script.main(["--small", "--out", str(out)]) == 1
    found = json.loads(out.read_text())
    assert found["failed"] == ["curve", "resume", "lease"]
    assert found["parts"]["curve"]["failed"] == "RuntimeError: CUDA error"
    assert found["parts"]["resume"]["failed"] == "TooLong: it took too long"
    assert found["parts"]["step"]["holds"]


def test_without_a_card_it_says_how_to_run(script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--out", str(tmp_path / "on_gpu.json")])
    assert "there is no card; --small runs on a CPU" in capsys.readouterr().err
