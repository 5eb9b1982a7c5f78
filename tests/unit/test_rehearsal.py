"""What `make rehearsal` reads and says, at a small size."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from boldvision import config
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import betas, fetch, keys, trials
from boldvision.datasets.nsd.prepare_fmriprep import session_runs
from boldvision.datasets.nsd.roi import read_roi
from boldvision.datasets.nsd.runs import FILE_VOLUMES, TR_S, VOLUMES
from boldvision.images import ImageStack
from boldvision.signal.derivatives import read_run
from boldvision.signal.volumes import read_masked
from tests.rehearsal import run, simulate
from tests.rehearsal.watch import watching

SUBJECT = config.Subject(number=1, sessions=1, grid=(8, 9, 7), voxels=40)
DESIGN = config.Design(images=2000, images_per_subject=250, shared_images=4, image_px=12)


@pytest.fixture(scope="module")
def simulation():
    subjects = {"subj01": SUBJECT}
    settings = Settings(miniature=simulate.MINIATURE, subjects=subjects, design=DESIGN)
    return Simulation(settings, seen_only=True)


@pytest.fixture(scope="module")
def copy(simulation, tmp_path_factory):
    out = tmp_path_factory.mktemp("rehearsal") / "bucket"
    simulate.write_copy(simulation, out)
    return out


def test_only_images_that_are_seen_are_drawn(simulation):
    assert len(simulation.images) == len(simulation.image_id) == 250
    assert set(simulation.image_id) == set(simulation.fields["subjectim"][0])
    assert not simulation.features[np.setdiff1d(np.arange(2000), simulation.image_id - 1)].any()


def test_the_copy_is_read_as_one_of_the_bucket(simulation, copy, tmp_path):
    settings = {"design": DESIGN.model_dump(), "subject": SUBJECT.model_dump()}
    source = ["--source", json.dumps({"raw": str(copy)}), "--root", str(tmp_path)]
    common = ["--settings", json.dumps(settings), *source, "--ledger", str(tmp_path / "ledger")]
    fetch.main(["experiment", *common])
    fetch.main(["subject", "--subject", "subj01", *common])
    fetch.main(["images", "--subject", "subj01", *common])
    stack = ImageStack(tmp_path / "images" / "subj01.h5")
    assert np.array_equal(stack.image_id, simulation.image_id)
    assert np.array_equal(stack.read(stack.image_id), simulation.images)
    told = json.dumps(settings | {"time_resolved_test_runs": 2, "data_seed": 0})
    designs, out = tmp_path / keys.design_folder("subj01"), tmp_path / "trials.parquet"
    places = ["--expdesign", str(tmp_path / keys.expdesign()), "--designs", str(designs)]
    trials.main([*places, "--subject", "subj01", "--settings", told, "--out", str(out)])
    assert len(pd.read_parquet(out)) == 750


def test_the_region_answers_to_the_images_and_the_rest_varies(simulation, copy):
    voxels = read_roi(copy / keys.roi("subj01"), SUBJECT.voxels, SUBJECT.grid)
    series = read_masked(
        copy / keys.timeseries("subj01", 1, 3), voxels, VOLUMES, FILE_VOLUMES, TR_S
    )
    assert np.array_equal(series, np.rint(simulation.series("subj01", 1, 3))[:VOLUMES])
    found = betas.read_betas(copy / keys.betas("subj01", 1), voxels)
    expected = simulate.bucket.betas(simulation, "subj01", 1) / betas.SCALE
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    image = simulate.nib.load(copy / keys.timeseries("subj01", 1, 3))
    brain = np.asarray(image.dataobj)[simulate.bucket.Anatomy(SUBJECT).brain]
    assert (brain.std(axis=1) > 0).all()


def test_derivatives_are_read_as_fmripreps(simulation, tmp_path):
    out = tmp_path / "derivatives"
    simulate.write_derivatives(simulation, out, grid=(13, 15, 13), mm=16.0)
    settings = config.Fmriprep(kind="fmriprep")
    runs = session_runs(out, SUBJECT, 1, settings.space)
    series = read_run(runs[0], settings)
    assert series.shape == (settings.volumes, 20484)
    assert (series.std(axis=0) > 0).all()


def test_what_rules_took_is_summed_up(tmp_path):
    used = {"logs/first.log": [70, 1], "logs/prepare/subj01/session1.log": [80.5, 3]}
    used["logs/prepare/subj01/session2.log"] = [120.5, 4]
    for number, name in enumerate(
        ["first", *(f"prepare/subj01/session{n}" for n in (1, 2)), "small/table_1"]
    ):
        place = tmp_path / "benchmarks" / f"{name}.tsv"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("s\tmax_rss\n2.5\tNA\n")
        os.utime(place, (number, number))
    (tmp_path / "made").write_bytes(bytes(8000))
    (tmp_path / "link").symlink_to(tmp_path / "made")
    printed = "output_file\tdate\trule\nX/made\t-\tprepare\nX/link\t-\tother\nX/gone\t-\tother\n"
    printed += "X/made\t-\tmake_table\n"
    disk = run.disk_of("Building DAG\n" + printed.replace("X", str(tmp_path)))
    assert disk["prepare"] == pytest.approx(8192e-6)
    assert disk["other"] == 0
    table = run.by_rule(tmp_path / "benchmarks", "logs", used, disk, "small")
    *rules, reports = table.to_dict("records")
    assert rules == [
        dict(zip(run.COLUMNS, ("first", 1, 2.5, 1, 70, 0), strict=True)),
        dict(zip(run.COLUMNS, ("prepare", 2, 5, 7, 120.5, disk["prepare"]), strict=True)),
    ]
    assert (reports["rule"], reports["jobs"]) == ("tables and figures", 1)
    assert reports["disk_mb"] == disk["make_table"]
    assert "| tables and figures | 1 | 2 | – | – | 0 |" in run.markdown(table)
    assert "| all | 4 | 10 | 8 | 0.1 | 0 |" in run.markdown(table)


def test_the_peak_of_a_job_is_seen(tmp_path):
    log = tmp_path / "job.log"
    command = "import time; bytes(bytearray(200_000_000)); time.sleep(0.6); sum(range(10**6))"
    with watching() as used, log.open("w") as file:
        subprocess.run([sys.executable, "-c", command], stdout=file, check=True)
    peak_mb, cpu_s = used[str(log)]
    assert 380 < peak_mb < 500
    assert 0.05 < cpu_s < 5
