"""What earlier jobs found is taken where it is of the same thing, and only there."""

import os
import sys
import threading

import h5py
import numpy as np
import pytest

from boldvision import trust
from boldvision.config import Metrics
from boldvision.fingerprint import Code
from boldvision.metrics import kept, scoring
from boldvision.metrics.inputs import Stimuli, read_reconstructions
from boldvision.metrics.measures import Scored
from boldvision.metrics.sources import SOURCES
from tests.unit.scored_study import NETWORKS, SMALL, make_study, run, write_window


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path)


@pytest.fixture
def computed(monkeypatch):
    """Names of the metrics whose values have been computed, once for each test window."""
    names = []
    whole = scoring._score_window

    def counted(window, stimuli, features, chosen, *rest):
        names.extend(chosen)
        return whole(window, stimuli, features, chosen, *rest)

    monkeypatch.setattr(scoring, "_score_window", counted)
    return names


def outputs(study):
    return [(study / name).read_bytes() for name in ("out.parquet", "out.json")]


def test_one_more_metric_computes_that_metric_only(study, computed):
    run(study, ["pixcorr", "clip"])
    assert computed == ["pixcorr", "pixcorr", "clip", "clip"]
    computed.clear()
    run(study, ["ssim", "pixcorr", "clip"])
    assert computed == ["ssim", "ssim"]
    taken = outputs(study)
    computed.clear()
    run(study, ["ssim", "pixcorr", "clip"], kept="empty")
    assert len(computed) == 6
    assert outputs(study) == taken


def test_a_set_of_metrics_that_are_there_needs_no_network(study, computed, monkeypatch):
    run(study, ["pixcorr", "clip"])
    computed.clear()
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    assert run(study, ["clip", "pixcorr"]) == 0
    assert computed == []
    with pytest.raises(ImportError):
        run(study, ["ssim"])


def test_another_decoder_scores_nobody_anew(study, computed):
    run(study, ["pixcorr"])
    noise = np.random.default_rng(1).integers(0, 256, (10, 48, 48, 3), dtype=np.uint8)
    write_window(study / "other", "main", noise, 3 * np.arange(10) + 1)
    computed.clear()
    run(study, ["pixcorr"], made="other", kept="other_kept")
    assert computed == ["pixcorr"]
    run(study, ["pixcorr"])
    run(study, ["pixcorr"], made="other", kept="other_kept")
    assert computed == ["pixcorr"]


def other_pictures(study, monkeypatch):
    with h5py.File(study / "made" / "main.h5", "a") as file:
        file["images"][3, 5, 5, 0] ^= 1


def other_stimuli(study, monkeypatch):
    with h5py.File(study / "images.h5", "a") as file:
        file["images"][0, 5, 5, 0] ^= 1


def another_window(study, monkeypatch):
    (study / "made" / "main+1.h5").rename(study / "made" / "main+2.h5")


def other_code(study, monkeypatch):
    monkeypatch.setattr(kept, "code", lambda: "edited")


@pytest.mark.survives(
    "results",
    "Kept scores are of other pictures, stimuli, settings, weights or code than asked for",
    "They are computed anew: each carries a digest of all that it depends on",
)
@pytest.mark.parametrize("change", [other_pictures, other_stimuli, another_window, other_code])
def test_scores_of_something_else_are_computed_anew(study, computed, monkeypatch, change):
    run(study, ["pixcorr"])
    change(study, monkeypatch)
    computed.clear()
    run(study, ["pixcorr"])
    assert computed == 2 * ["pixcorr"]
    taken = outputs(study)
    run(study, ["pixcorr"], kept="empty")
    assert outputs(study) == taken


def kept_scores(study, seed=0, **settings):
    """As the stage keeps them for the pictures of the study."""
    settings = Metrics(**{"networks": NETWORKS, "sets": {}} | settings)
    windows = read_reconstructions(study / "made")
    stimuli = Stimuli(np.zeros((2, 4, 4, 3), np.uint8), np.arange(2))
    return kept.KeptScores(study / "kept", windows, stimuli, settings=settings, seed=seed)


SCORED = Scored(np.array([0.1, 1 / 3]), 0.7, (0.1, 0.2), 1, 2)


def test_all_code_that_computes_a_score_counts(monkeypatch):
    modules = Code().modules(*kept.COMPUTING)
    computing = ("identification", "inputs", "intervals", "measures", "networks", "pixels")
    computing += ("architectures", "protocols", "scoring", "segmentation")
    assert {f"boldvision.metrics.{name}" for name in computing} <= set(modules)
    assert "boldvision.metrics.evaluate" not in modules
    kept.code.cache_clear()
    monkeypatch.setattr(kept, "version", lambda name: "2" if name == "torch" else "1")
    assert "numpy 1 " in kept.code()
    assert "torch 2 " in kept.code()
    kept.code.cache_clear()


@pytest.mark.parametrize(
    ("settings", "anew"),
    [
        ({"direction": "stimulus"}, SMALL),
        ({"bootstrap": 101}, SMALL),
        ({"protocol": "mindeye"}, SMALL),
        ({"seed": 1}, SMALL),
        ({"networks": NETWORKS | {"clip": {"name": "swav", "weights": "random"}}}, ["clip"]),
        ({"networks": NETWORKS | {"clip": NETWORKS["clip"] | {"label": "tiny"}}}, []),
        ({"batch_size": 2, "weights_folder": "elsewhere"}, []),
    ],
)
def test_a_setting_has_what_depends_on_it_computed_anew(study, settings, anew):
    for name in SMALL:
        kept_scores(study).keep(name, {"main": SCORED})
    assert all(kept_scores(study).read(name) for name in SMALL)
    assert [name for name in SMALL if not kept_scores(study, **settings).read(name)] == anew


def test_scores_follow_the_digest_that_is_trusted(study):
    source, folder = SOURCES["swav"], study / "weights"
    networks = {"swav": {"name": "swav", "weights": "pretrained"}}
    settings = {"networks": networks, "weights_folder": str(folder)}
    folder.mkdir()
    trust.remember(folder, source.file, "a" * 64, source.url)
    kept_scores(study, **settings).keep("swav", {"main": SCORED})
    found = kept_scores(study, **settings).read("swav")["main"]
    assert found.values.tolist() == [0.1, 1 / 3]
    assert (found.chance, found.interval, found.undefined, found.tied) == (0.7, (0.1, 0.2), 1, 2)
    trust.remember(folder, source.file, "b" * 64, source.url)
    assert kept_scores(study, **settings).read("swav") is None


@pytest.mark.survives(
    "jobs",
    "A job is killed while it scores with one network after another",
    "The next one takes the metrics whose network was done, and computes the others",
)
def test_a_killed_job_goes_on_with_the_metrics_that_are_missing(study, computed, monkeypatch):
    whole = scoring._network

    def killed(role, layers, settings):
        if role == "clip":
            raise KeyboardInterrupt
        return whole(role, layers, settings)

    with monkeypatch.context() as context:
        context.setattr(scoring, "_network", killed)
        with pytest.raises(KeyboardInterrupt):
            run(study, ["pixcorr", "clip"])
    assert not (study / "out.json").exists()
    computed.clear()
    run(study, ["pixcorr", "clip"])
    assert computed == 2 * ["clip"]


DAMAGES = {
    "one bit": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "cut": lambda content: content[:-1],
    "empty": lambda content: b"",
    "a page": lambda content: b"<html>Sign in</html>",
}


@pytest.mark.survives(
    "files",
    "Kept scores are cut, have flipped bits, or are of another kind or metric",
    "Their digest is not the one they begin with: they are computed anew",
)
@pytest.mark.parametrize("damage", [*DAMAGES, "another metric"])
def test_kept_scores_that_are_damaged_are_computed_anew(study, damage):
    for name in ("clip", "ssim"):
        kept_scores(study).keep(name, {"main": SCORED})
    path = study / "kept" / "clip.kept"
    content, other = path.read_bytes(), (study / "kept" / "ssim.kept").read_bytes()
    path.write_bytes(other if damage == "another metric" else DAMAGES[damage](content))
    assert kept_scores(study).read("clip") is None
    kept_scores(study).keep("clip", {"main": SCORED})
    assert path.read_bytes() == content


@pytest.mark.survives(
    "jobs",
    "Two sets of metrics of the same pictures are scored at once",
    "Each job keeps the metrics that both need; one whole file of each is left",
)
def test_two_jobs_keep_the_same_metric(study, monkeypatch):
    together, fsync = threading.Barrier(2), os.fsync

    def when_both_have_written(file):
        together.wait(10)
        fsync(file)

    monkeypatch.setattr("boldvision.files.os.fsync", when_both_have_written)
    threads = [
        threading.Thread(target=kept_scores(study).keep, args=("ssim", {"main": SCORED}))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken
    assert [file.name for file in (study / "kept").iterdir()] == ["ssim.kept"]
    np.testing.assert_array_equal(kept_scores(study).read("ssim")["main"].values, SCORED.values)


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, images, layers):
        self.calls += 1
        return {layer: images.reshape(len(images), -1).astype(np.float32) for layer in layers}


@pytest.mark.survives(
    "results",
    "Kept features are of other pictures, weights or steps than asked for",
    "They are computed anew: their name is a digest of pixels, weights, sizes and code",
)
def test_stimulus_features_are_kept_and_follow_the_pixels(tmp_path):
    images = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    stimuli = Stimuli(images, np.arange(4))
    changed = Stimuli(images[::-1], np.arange(4))
    extract = Counting()
    for given, identity in (
        (stimuli, "net random"),
        (stimuli, "net random"),
        (changed, "net random"),
        (stimuli, "net 12ab"),
    ):
        found = kept.cached_features(given, (), extract, ["2"], identity, tmp_path)
        np.testing.assert_array_equal(found["2"], given.images.reshape(4, -1))
    assert extract.calls == 3
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.survives(
    "files",
    "Kept features of stimuli are cut, have flipped bits, or are of another kind",
    "Their sha256 is not the one in their name: they are computed anew",
)
@pytest.mark.parametrize("damage", ["one bit", "cut", "empty", "a page"])
def test_kept_features_that_are_damaged_are_computed_anew(tmp_path, damage):
    images = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    stimuli, extract = Stimuli(images, np.arange(4)), Counting()
    kept.cached_features(stimuli, (), extract, ["2"], "net random", tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    changes = {
        "one bit": content[:-1] + bytes([content[-1] ^ 1]),
        "cut": content[:-1],
        "empty": b"",
        "a page": b"<html>Sign in</html>",
    }
    file.write_bytes(changes[damage])
    found = kept.cached_features(stimuli, (), extract, ["2"], "net random", tmp_path)
    np.testing.assert_array_equal(found["2"], images.reshape(4, -1))
    assert extract.calls == 2
    assert file.read_bytes() == content


@pytest.mark.survives(
    "jobs",
    "Several jobs compute the features of the same stimuli",
    "Each writes a file of its own and renames it: one whole file is left",
)
def test_concurrent_jobs_leave_one_whole_file(tmp_path):
    images = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    stimuli = Stimuli(images, np.arange(4))
    together = threading.Barrier(4)
    found = []

    def extract(images, layers):
        together.wait()
        return {layer: images.reshape(len(images), -1) for layer in layers}

    def job():
        found.append(kept.cached_features(stimuli, (), extract, ["2"], "net r", tmp_path)["2"])

    threads = [threading.Thread(target=job) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for array in found:
        np.testing.assert_array_equal(array, images.reshape(4, -1))
    assert len(list(tmp_path.iterdir())) == 1
