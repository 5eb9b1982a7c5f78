import numpy as np
import pytest
import scipy.spatial

from boldvision.metrics.identification import (
    correlation_distance,
    correlations,
    two_way,
    two_way_identification,
)

BOTH = ["prediction", "stimulus"]


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    stimuli = rng.normal(size=(12, 300)).astype(np.float32)
    return stimuli, (stimuli + 9 * rng.normal(size=stimuli.shape)).astype(np.float32)


def by_definition(stimuli, predictions, direction):
    n = len(stimuli)
    r = np.corrcoef(np.concatenate([stimuli, predictions]).astype(np.float64))[:n, n:]
    if direction == "stimulus":
        r = r.T
    return np.array([np.sum(r[:, j] < r[j, j]) / (n - 1) for j in range(n)])


def test_correlations_are_numpys(features):
    stimuli, predictions = features
    n = len(stimuli)
    expected = np.corrcoef(np.concatenate(features).astype(np.float64))[:n, n:]
    found = correlations(stimuli=stimuli, predictions=predictions, columns=77)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("direction", BOTH)
def test_two_way_is_the_definition(features, direction):
    stimuli, predictions = features
    found = two_way_identification(stimuli=stimuli, predictions=predictions, direction=direction)
    expected = by_definition(stimuli, predictions, direction)
    np.testing.assert_array_equal(found, expected)
    assert 0.5 < found.mean() < 1


@pytest.mark.parametrize("direction", BOTH)
def test_perfect_predictions_and_affine_changes(features, direction):
    stimuli, _ = features
    gain = np.linspace(0.1, 9, len(stimuli))[:, None]
    for predictions in (stimuli, gain * stimuli - 3):
        found = two_way_identification(
            stimuli=stimuli, predictions=predictions, direction=direction
        )
        np.testing.assert_array_equal(found, 1)


@pytest.mark.parametrize("direction", BOTH)
def test_noise_is_at_chance(direction):
    means = []
    for seed in range(10):
        stimuli, predictions = np.random.default_rng(seed).normal(size=(2, 100, 50))
        found = two_way_identification(
            stimuli=stimuli, predictions=predictions, direction=direction
        )
        means.append(found.mean())
    assert np.mean(means) == pytest.approx(0.5, abs=0.03)


def test_directions_differ():
    r = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.2], [0.0, 0.7, 0.5]])
    prediction = two_way(correlations=r, direction="prediction")
    stimulus = two_way(correlations=r, direction="stimulus")
    np.testing.assert_array_equal(prediction, [1, 0, 1])
    np.testing.assert_array_equal(stimulus, [1, 1, 0.5])


@pytest.mark.parametrize("direction", BOTH)
def test_identical_rows_tie_and_fail(features, direction):
    stimuli, predictions = (array.astype(np.float64) for array in features)
    varied = stimuli if direction == "prediction" else predictions
    gain = np.linspace(0.1, 9, len(varied))[:, None]
    varied[:] = gain * varied[0]  # equal correlations but for rounding
    found = two_way_identification(stimuli=stimuli, predictions=predictions, direction=direction)
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("value", [0.1, np.nan])
def test_constant_and_undefined_rows_fail(features, value):
    stimuli, predictions = features
    predictions = np.concatenate([np.full((1, predictions.shape[1]), value), stimuli[1:]])
    for direction in BOTH:
        found = two_way_identification(
            stimuli=stimuli, predictions=predictions, direction=direction
        )
        assert found[0] == 0
        # a comparison with an undefined correlation is lost, too
        expected = 1 if direction == "prediction" else 1 - 1 / (len(stimuli) - 1)
        np.testing.assert_allclose(found[1:], expected)


def test_repeated_images_are_compared_with_others_only(features):
    stimuli, predictions = features
    pairs = np.array([0, 0, 1, 2, 2, 2])
    for direction in BOTH:
        found = two_way_identification(
            stimuli=stimuli[:3], predictions=stimuli[pairs], direction=direction, pairs=pairs
        )
        np.testing.assert_array_equal(found, 1)
    r = correlations(stimuli=stimuli[:3], predictions=predictions[:6])
    found = two_way(correlations=r, direction="stimulus", pairs=pairs)
    assert found[0] == np.mean(r[0, 2:] < r[0, 0])


def test_one_image_is_refused(features):
    stimuli, _ = features
    for direction in BOTH:
        with pytest.raises(ValueError, match="at least 2"):
            two_way_identification(
                stimuli=stimuli[:1], predictions=stimuli[:1], direction=direction
            )


def test_arguments_have_names(features):
    with pytest.raises(TypeError):
        two_way_identification(*features, direction="prediction")


def test_correlation_distance_is_scipys(features):
    distance = scipy.spatial.distance.correlation
    stimuli, predictions = features
    expected = [
        distance(s.astype(float), p.astype(float))
        for s, p in zip(stimuli, predictions, strict=True)
    ]
    found = correlation_distance(stimuli=stimuli, predictions=predictions)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    constant = np.full_like(stimuli, 0.1)
    assert np.isnan(correlation_distance(stimuli=stimuli, predictions=constant)).all()
