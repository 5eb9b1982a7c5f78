import numpy as np
import pytest

from boldvision.metrics.intervals import bootstrap_interval, standard_error
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


def test_standard_error_has_ddof_0():
    assert standard_error(np.array([1.0, 2, 3, 4])) == pytest.approx(np.sqrt(1.25) / 2)


def test_mean_iou_averages_over_classes_of_the_stimulus():
    stimuli = np.array([[0, 0, 1, 1], [2, 2, 2, 2]], dtype=np.uint8)
    reconstructions = np.array([[0, 3, 1, 0], [2, 2, 2, 2]], dtype=np.uint8)
    found = mean_iou(stimuli=stimuli, reconstructions=reconstructions)
    np.testing.assert_allclose(found, [(1 / 3 + 1 / 2) / 2, 1])
