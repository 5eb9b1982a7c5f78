"""Every script of a table or figure, run on synthetic evaluations."""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

import figure_data
import numpy as np
import pandas as pd
import pytest
from report_data import (
    SHIFTS,
    TIMING,
    WINDOWS,
    curve_rows,
    evaluation,
    job,
    moving_windows,
    paper_rows,
    picture,
    table_rows,
    write_images,
)

from boldvision.errors import UserError
from boldvision.trials.table import write_split

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
DATA = {"dataset": "miniature", "simulated": True, "windows": WINDOWS, "timing": asdict(TIMING)}


def run(script, params, output, inputs=None, wildcards=None):
    spec = importlib.util.spec_from_file_location(f"script_{script}", SCRIPTS / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(job(DATA | params, output, inputs, wildcards))


def figure_files(folder, item):
    return {"pdf": folder / f"{item}.pdf", "png": folder / f"{item}.png"}


@pytest.mark.parametrize("number", range(1, 9))
def test_table(number, tmp_path):
    output = {kind: tmp_path / f"table_{number}.{kind}" for kind in ("csv", "md", "tex")}
    rows = paper_rows(tmp_path / "metrics", number, subjects=["subj01", "subj02"])
    run("table", {"rows": rows}, output, wildcards={"number": str(number)})
    frame = pd.read_csv(output["csv"])
    assert set(frame["source"]) == {"ours", "published"}
    for kind in ("md", "tex"):
        text = output[kind].read_text()
        assert "NOT COMPARABLE" in text
        assert "miniature" in text
        assert "tiny generator" in text
        assert "small random ViT" in text
    assert frame.loc[frame["source"] == "ours", "note"].str.contains("not comparable").all()


def test_differences(tmp_path):
    output = {kind: tmp_path / f"differences.{kind}" for kind in ("csv", "md", "tex")}
    tables = {f"table_{n}": paper_rows(tmp_path / "metrics", n) for n in (1, 4, 6)}
    run("differences", {"tables": tables, "seed": 0}, output)
    frame = pd.read_csv(output["csv"])
    assert set(frame["tables"]) == {"1, 6"}
    assert set(frame["row"]) == {"Mean image"}
    for kind in ("md", "tex"):
        text = output[kind].read_text()
        assert "simulated dataset miniature" in text
        assert "not comparable" in text


@pytest.mark.parametrize("item", ["figure_5", "temporal_generalization"])
def test_figure_over_time(item, tmp_path):
    tested = SHIFTS if item == "temporal_generalization" else None
    rows = curve_rows(tmp_path / "metrics", tested=tested)
    output = figure_files(tmp_path, item)
    params = {"rows": rows, "metrics": ["ssim", "alexnet_2", "clip"], "split": "time_resolved"}
    run(item, params, output)
    check_figure(output)


def test_figure_4(tmp_path):
    rows, trials, stimuli = moving_windows(tmp_path / "data")
    output = figure_files(tmp_path, "figure_4")
    params = {"rows": rows, "shifts": [-3, -2, -1, 0, 1, 2, 3], "trials": 2}
    params |= {"blur_faces": True, "split": "time_resolved_leakage_free"}
    run("figure_4", params, output, {"trials": [str(trials)], "stimuli": [str(stimuli)]})
    check_figure(output)


@pytest.mark.parametrize("number", ["3", "7", "8"])
def test_figure_of_pictures(number, tmp_path):
    rows = figure_data.two_subjects(tmp_path / "data")
    output = figure_files(tmp_path, f"figure_{number}")
    params = {"rows": rows, "metric": "pixcorr", "images": 3, "blur_faces": True}
    script = "figure_3" if number == "3" else "figure_7_8"
    run(script, params, output, wildcards={"number": number})
    check_figure(output)


def test_figure_6(tmp_path):
    output = figure_files(tmp_path, "figure_6")
    rows = figure_data.durations(tmp_path, ["clip"])
    run("figure_6", {"rows": rows, "metrics": ["clip"], "windows": figure_data.WINDOWS}, output)
    check_figure(output)


def test_figure_9(tmp_path):
    output = figure_files(tmp_path, "figure_9")
    rows = figure_data.few_sessions(tmp_path, ["ssim"])
    run("figure_9", {"rows": rows, "metrics": ["ssim"], "all_sessions": 40}, output)
    check_figure(output)


def test_leakage(tmp_path):
    rows, (trials, splits) = figure_data.time_resolved_splits(tmp_path / "data")
    trials.to_parquet(tmp_path / "trials.parquet")
    files = {"trials": [str(tmp_path / "trials.parquet")], "splits": []}
    for name, parts in splits.items():
        file = tmp_path / "splits" / name / "subj01.parquet"
        write_split(trials, parts, file)
        files["splits"].append(str(file))
    output = figure_files(tmp_path, "leakage")
    params = {"rows": rows, "metric": "alexnet_2", "samples": 100, "seed": 0}
    run("leakage", params, output, files)
    check_figure(output)


def check_figure(output):
    pdf = output["pdf"].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
    assert b"FontFile2" in pdf
    assert output["png"].read_bytes().startswith(b"\x89PNG")


def test_scorecard(tmp_path):
    output = {"csv": tmp_path / "scorecard.csv", "html": tmp_path / "scorecard.html"}
    tables = {"table_1": table_rows(tmp_path / "metrics")}
    run("scorecard", {"tables": tables, "seed": 0}, output)
    frame = pd.read_csv(output["csv"])
    assert set(frame.loc[frame["row"] == "Dynadiff", "status"]) == {"not comparable"}
    assert "not comparable" in output["html"].read_text()


def known_answer_job(tmp_path, peak_s):
    ids = np.arange(1, 13)
    stimuli = write_images(
        tmp_path / "stimuli.h5", [picture(int(i), 48) for i in ids], image_id=ids
    )
    made = write_images(
        tmp_path / "main.h5", [picture(int(i), 32) for i in ids], trial=ids, image_id=ids
    )
    row = evaluation(tmp_path / "metrics", "Dynadiff", level=0.9)
    row |= {"reconstructions": str(made.parent), "stimuli": str(stimuli)}
    (tmp_path / "truth.json").write_text(json.dumps({"subj01": {"peak_s": peak_s}}))
    curves = curve_rows(tmp_path / "curves", metrics=["pixcorr", "alexnet_2"])
    params = {"checked": {"table_1": [row], "figure_5": curves}, "seed": 0}
    return params, {"json": tmp_path / "known_answer.json"}, {"truth": tmp_path}


def test_known_answer(tmp_path, capsys):
    params, output, inputs = known_answer_job(tmp_path, peak_s=6.0)
    run("known_answer", params, output, inputs)
    record = json.loads(output["json"].read_text())
    assert record["passed"]
    assert [f["check"].split()[0] for f in record["findings"]] == [
        "identification",
        "identification",
        "chance",
        "best",
        "best",
    ]
    assert "identification by pixels" in capsys.readouterr().out


def test_known_answer_missed(tmp_path):
    params, output, inputs = known_answer_job(tmp_path, peak_s=9.0)
    with pytest.raises(UserError, match="2 of 5 checks failed"):
        run("known_answer", params, output, inputs)
    assert not output["json"].exists()
