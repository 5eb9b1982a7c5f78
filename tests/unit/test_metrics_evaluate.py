from dataclasses import replace

import h5py
import numpy as np
import pytest

from boldvision.config import Metrics
from boldvision.metrics import architectures, evaluate, scoring
from boldvision.metrics.identification import TIES
from boldvision.metrics.measures import MEASURES
from tests.unit.scored_study import NETWORKS, SMALL, make_study, results, run, write_window


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path)


def test_perfect_and_unrelated_reconstructions(study):
    assert run(study, [*SMALL, "ssim", "alexnet_2"], protocol="brain_diffuser") == 0
    images, summary = results(study)
    perfect, noise = summary["windows"]["main"], summary["windows"]["main+1"]
    for name in ("pixcorr", "ssim", "clip", "alexnet_2"):
        assert perfect[name]["value"] == pytest.approx(1, abs=1e-6)
        assert noise[name]["value"] < 0.8
    assert perfect["efficientnet"]["value"] == pytest.approx(0, abs=1e-6)
    assert abs(perfect["pixcorr"]["chance"]) < 0.3
    assert perfect["ssim"]["chance"] < 0.9
    assert perfect["clip"]["chance"] == 0.5
    assert perfect["efficientnet"]["chance"] > 1e-4
    assert {name: score["n"] for name, score in noise.items()} == dict.fromkeys(noise, 20)
    assert list(images) == ["test_window", "trial", "image_id", "metric", "value"]
    assert len(images) == 5 * 30


def test_summary_is_the_mean_of_the_images_and_says_what_was_done(study):
    run(study, direction="stimulus")
    images, summary = results(study)
    means = images.groupby(["test_window", "metric"])["value"].mean()
    for window, scores in summary["windows"].items():
        for name, score in scores.items():
            assert score["value"] == pytest.approx(means[window, name])
            assert score["low"] <= score["value"] <= score["high"]
    assert (summary["protocol"], summary["direction"]) == ("dynadiff", "stimulus")
    assert summary["generator_label"] == "tiny generator"
    assert summary["dropped"] == {"main": 2, "main+1": 2}
    assert summary["metrics"]["pixcorr"]["genuine"]
    assert summary["metrics"]["clip"] == {
        "better": "higher",
        "chance": 0.5,
        "interval": evaluate.IDENTIFICATION_INTERVAL,
        "ties": TIES["stimulus"],
        "network": "vit_small",
        "weights": "random",
        "weights_checked": "",
        "label": "small random ViT",
        "genuine": False,
    }
    assert summary["metrics"]["efficientnet"]["label"] == "vit_small, random weights"


@pytest.mark.parametrize(
    ("metric", "name", "how", "genuine"),
    [
        ("alexnet_2", "alexnet", "pretrained", True),
        ("alexnet_2", "alexnet", "random", False),
        ("clip", "clip_vit_l14", f"pretrained#sha256={'0' * 64}", True),
        ("inception", "mobilenet_v2", "pretrained", False),
        ("dreamsim", "lpips_alex", "pretrained", False),
        ("miou", "mask2former", "pretrained", False),
    ],
)
def test_genuine_is_the_papers_network_with_its_weights(metric, name, how, genuine):
    role = MEASURES[metric].role
    settings = Metrics(networks={role: {"name": name, "weights": how}}, sets={})
    assert MEASURES[metric].is_genuine(settings.networks[role]) is genuine


def test_directions_give_different_values(study):
    values = {}
    for direction in ("prediction", "stimulus"):
        run(study, ["clip"], direction=direction)
        images, _ = results(study)
        values[direction] = images["value"].to_numpy()
    assert not np.array_equal(values["prediction"], values["stimulus"])


def test_windows_are_scored_on_their_own(study):
    run(study, ["clip"])
    images, _ = results(study)
    together = images.loc[images["test_window"] == "main+1", "value"]
    (study / "made" / "main.h5").unlink()
    run(study, ["clip"])
    np.testing.assert_array_equal(results(study)[0]["value"], together)


def test_same_seed_same_files(study):
    run(study)
    first = (study / "out.json").read_bytes(), (study / "out.parquet").read_bytes()
    run(study, kept="empty")
    assert ((study / "out.json").read_bytes(), (study / "out.parquet").read_bytes()) == first
    run(study, seed=1)
    assert (study / "out.json").read_bytes() != first[0]


@pytest.mark.survives(
    "results",
    "A picture of one colour has no correlation with anything",
    "It is scored as uncorrelated, and the scores count it",
)
def test_constant_reconstruction_is_uncorrelated(study):
    with h5py.File(study / "made" / "main.h5", "a") as file:
        file["images"][:1] = 77
    run(study, ["pixcorr"])
    images, summary = results(study)
    assert images["value"][0] == 0
    assert images["value"][1] == pytest.approx(1, abs=1e-3)
    assert summary["windows"]["main"]["pixcorr"]["undefined"] == 1


@pytest.mark.survives(
    "results",
    "A decoder has failed and draws pictures of one colour",
    "They are counted in the scores; a test set of nothing else is refused",
)
def test_constant_pictures_are_counted_and_refused_where_there_is_nothing_else(study, capsys):
    path = study / "made" / "main+1.h5"
    with h5py.File(path, "a") as file:
        file["images"][2:5] = [200, 10, 10]
    assert run(study, ["pixcorr"]) == 0
    assert results(study)[1]["constant"] == {"main": 0, "main+1": 3}
    with h5py.File(path, "a") as file:
        file["images"][:] = np.arange(20)[:, None, None, None]
    capsys.readouterr()
    assert run(study, ["pixcorr"]) == 1
    assert f"{path}: expected pictures of images, found 20" in capsys.readouterr().err


@pytest.mark.survives(
    "results",
    "A network's weights are damaged and its features are no numbers",
    "The job stops and names the network; nothing is scored",
)
def test_features_that_are_no_numbers_are_refused(study, capsys, monkeypatch):
    whole = architectures.NETWORKS["vit_small"]

    def damaged():
        model = whole.build()
        model.conv_proj.weight.data[0] = np.nan
        return model

    monkeypatch.setitem(architectures.NETWORKS, "vit_small", replace(whole, build=damaged))
    assert run(study, ["clip"]) == 1
    assert "vit_small random: expected finite features" in capsys.readouterr().err
    assert not (study / "out.json").exists()


@pytest.mark.survives(
    "results",
    "A score comes out as NaN",
    "The job stops and names the pictures and the metric",
)
def test_scores_that_are_no_numbers_are_refused(study, capsys, monkeypatch):
    monkeypatch.setattr(scoring, "compare", lambda _, seen, *rest: np.full(len(seen), np.nan))
    monkeypatch.setitem(scoring.UNDEFINED, "pixcorr", np.nan)
    assert run(study, ["pixcorr"]) == 1
    error = capsys.readouterr().err
    assert "main.h5: expected finite scores" in error
    assert "pixcorr" in error


@pytest.mark.survives(
    "results",
    "All reconstructions are the same picture",
    "Ties are lost, as in the paper's code; the scores count them and say what that means",
)
@pytest.mark.parametrize(
    ("direction", "value", "tied"), [("prediction", 0.5, 0), ("stimulus", 0, 90)]
)
def test_identical_reconstructions_tie_in_one_direction(study, direction, value, tied):
    path = study / "made" / "main.h5"
    with h5py.File(path, "a") as file:
        file["images"][:] = file["images"][:1]
    assert run(study, ["clip"], direction=direction) == 0
    summary = results(study)[1]
    score = summary["windows"]["main"]["clip"]
    assert score["value"] == pytest.approx(value)
    assert score["tied"] == tied
    assert summary["windows"]["main+1"]["clip"]["tied"] == 0
    assert ("score 0, not chance" in summary["metrics"]["clip"]["ties"]) is (tied > 0)


@pytest.mark.parametrize("metric", ["pixcorr", "efficientnet"])
def test_chance_of_a_correlation_is_the_mean_of_all_pairs(metric):
    rng = np.random.default_rng(0)
    kept, rows = rng.random((6, 4, 4, 3)), np.array([5, 0, 2, 2])
    new = rng.random((4, 4, 4, 3))
    found = scoring._unrelated_correlations(MEASURES[metric], kept, new, rows)
    r = np.corrcoef(kept[[5, 0, 2]].reshape(3, -1), new.reshape(4, -1))[:3, 3:]
    others = [r[0, 1:], r[1, [0, 2, 3]], r[2, :2]]  # rows 5, 0 and 2 with what is of another
    expected = np.mean(np.concatenate(others))
    assert len(found) == 8
    assert found.mean() == pytest.approx(expected if metric == "pixcorr" else 1 - expected)


def test_chance_pairs_have_another_image():
    rows = np.array([4, 4, 7, 1, 9, 9, 9])
    for seed in range(20):
        other = scoring.rows_of_another_image(rows, seed)
        assert set(other) <= set(rows)
        assert (other != rows).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": ["fid"]}, "expected one of ssim"),
        ({"set": []}, "expected `set`"),
        ({"set": ["inception"]}, "expected a network for the role inception"),
        (
            {"set": ["alexnet_2"], "networks": {"alexnet": NETWORKS["clip"]}},
            "this role needs 2",
        ),
    ],
)
def test_wrong_settings(study, capsys, changes, message):
    assert run(study, **{"metrics": changes.pop("set"), **changes}) == 1
    assert message in capsys.readouterr().err
    assert not (study / "out.json").exists()


def test_wrong_reconstructions(study, tmp_path, capsys):
    write_window(study / "made", "main+2", np.zeros((2, 8, 8, 3)), [1, 4])
    assert run(study) == 1
    assert "main+2.h5: expected `images` uint8" in capsys.readouterr().err
    write_window(study / "made", "main+2", np.zeros((2, 8, 8, 3), np.uint8), [1, 1])
    assert run(study) == 1
    assert "at least 2 images" in capsys.readouterr().err
    write_window(study / "made", "main+2", np.ones((2, 8, 8, 3), np.uint8), [1, 4], label="b")
    assert run(study, ["pixcorr"]) == 1
    assert "of one generator" in capsys.readouterr().err
    (study / "made").rename(study / "elsewhere")
    (study / "made").mkdir()
    assert run(study) == 1
    assert "expected one .h5 per test window" in capsys.readouterr().err


def test_unknown_image_is_an_error(study):
    write_window(study / "made", "main+2", np.zeros((2, 8, 8, 3), np.uint8), [1, 2])
    assert run(study) == 1


def test_unknown_protocol_is_refused(study, capsys):
    assert run(study, protocol="mine") == 1
    assert "protocol: Input should be 'dynadiff', 'mindeye'" in capsys.readouterr().err
