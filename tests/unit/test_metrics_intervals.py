import numpy as np
import pytest

from boldvision.metrics.identification import compare_all, two_way
from boldvision.metrics.intervals import (
    _jackknife,
    _sum_by,
    bootstrap_interval,
    identification_interval,
    standard_error,
)
from boldvision.metrics.segmentation import mean_iou


def test_bootstrap_covers_the_true_mean():
    rng = np.random.default_rng(0)
    images = np.arange(40)
    intervals = [
        bootstrap_interval(rng.normal(3, 1, 40), images, samples=300, seed=seed)
        for seed in range(200)
    ]
    covered = np.mean([low < 3 < high for low, high in intervals])
    assert 0.89 < covered < 0.99
    width = np.mean([high - low for low, high in intervals])
    assert width == pytest.approx(2 * 1.96 / np.sqrt(40), rel=0.1)


def test_bootstrap_draws_the_trials_of_an_image_together():
    values = np.random.default_rng(0).normal(size=50)
    once = bootstrap_interval(values, np.arange(50), samples=500, seed=0)
    thrice = bootstrap_interval(
        np.repeat(values, 3), np.repeat(np.arange(50), 3), samples=500, seed=0
    )
    assert thrice == pytest.approx(once)


def test_bootstrap_depends_on_the_seed_only():
    values = np.arange(9.0)
    first, again, other = (
        bootstrap_interval(values, values, samples=200, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other


def correlations_of_noisy_features(rng, n, noise):
    stimuli = rng.normal(size=(n, 30))
    predictions = stimuli + noise * rng.normal(size=(n, 30))
    return np.corrcoef(stimuli, predictions)[:n, n:]


def interval(r, direction="prediction", pairs=None):
    pairs = np.arange(r.shape[1]) if pairs is None else pairs
    compared = compare_all(correlations=r, direction=direction, pairs=pairs)
    return identification_interval(compared.won, pairs, compared.image)


@pytest.mark.survives(
    "results",
    "Two-way identification is near its ceiling and the test images are few",
    "Its interval counts images as tested and as competitors, and still covers the true score",
)
@pytest.mark.parametrize(("noise", "n"), [(2.6, 60), (1.5, 100)])
def test_identification_interval_covers(noise, n):
    rng = np.random.default_rng(1)
    true = np.mean(
        [
            two_way(
                correlations=correlations_of_noisy_features(rng, 1500, noise),
                direction="prediction",
            ).mean()
            for _ in range(4)
        ]
    )
    covered, narrow = [], []
    for seed in range(300):
        r = correlations_of_noisy_features(rng, n, noise)
        low, high = interval(r)
        covered.append(low <= true <= high)
        scores = two_way(correlations=r, direction="prediction")
        low, high = bootstrap_interval(scores, np.arange(n), samples=200, seed=seed)
        narrow.append(low <= true <= high)
    assert np.mean(covered) >= 0.93
    if true > 0.99:
        assert np.mean(narrow) < 0.88


@pytest.mark.parametrize("direction", ["prediction", "stimulus"])
def test_an_image_is_left_out_in_both_roles_with_all_its_trials(direction):
    rng = np.random.default_rng(0)
    pairs = np.array([0, 3, 1, 1, 2, 4, 4, 4])
    r = rng.normal(size=(5, 8)) + 1.2 * (np.arange(5)[:, None] == pairs)
    compared = compare_all(correlations=r, direction=direction, pairs=pairs)
    without = []
    for image in range(5):
        kept = pairs != image
        rest = np.unique(pairs[kept], return_inverse=True)[1]
        part = np.delete(r, image, axis=0)[:, kept]
        without.append(two_way(correlations=part, direction=direction, pairs=rest).mean())
    wins = _sum_by(pairs, _sum_by(compared.image, compared.won).T)
    mean, variance = _jackknife(wins, np.bincount(pairs), np.bincount(compared.image))
    assert mean == pytest.approx(compared.scores.mean())
    assert variance == pytest.approx(4 / 5 * np.square(without - np.mean(without)).sum())


@pytest.mark.parametrize("direction", ["prediction", "stimulus"])
def test_interval_of_perfect_and_failed_identification_has_a_width(direction):
    for n in (2, 100):
        low, high = interval(np.eye(n), direction)
        assert (high, low < 1) == (1, True)
        assert interval(-np.eye(n), direction) == pytest.approx((0, 1 - low))
    assert low == pytest.approx(0.962, abs=0.001)


@pytest.mark.parametrize(("n", "seed"), [(10, 5), (40, 0)])
def test_interval_of_identical_reconstructions_does_not_hang_on_rounding(n, seed):
    r = np.repeat(np.random.default_rng(seed).normal(size=(n, 1)), n, axis=1)
    low, high = interval(r)  # whichever images are drawn, half of the comparisons are won
    assert low <= 0.5 <= high
    assert high - low < 1e-9


def test_standard_error_has_ddof_0():
    assert standard_error(np.array([1.0, 2, 3, 4])) == pytest.approx(np.sqrt(1.25) / 2)


def test_mean_iou_averages_over_classes_of_the_stimulus():
    stimuli = np.array([[0, 0, 1, 1], [2, 2, 2, 2]], dtype=np.uint8)
    reconstructions = np.array([[0, 3, 1, 0], [2, 2, 2, 2]], dtype=np.uint8)
    found = mean_iou(stimuli=stimuli, reconstructions=reconstructions)
    np.testing.assert_allclose(found, [(1 / 3 + 1 / 2) / 2, 1])
