"""Raw series -> clean series, against nilearn."""

import warnings

import numpy as np
import pytest
from nilearn.signal import clean as nilearn_clean

from boldvision.datasets.nsd.runs import TR_S
from boldvision.errors import UserError
from boldvision.signal.clean import clean, drift_basis


def drifting_series(n_voxels: int = 40, n_volumes: int = 225) -> np.ndarray:
    """int16-like noise on a baseline of thousands with a slow drift ten times as large."""
    random = np.random.default_rng(1)
    time = np.linspace(-1, 1, n_volumes)[:, None]
    drift = 300 * random.standard_normal((2, n_voxels))
    noise = 30 * random.standard_normal((n_volumes, n_voxels))
    return np.round(5000 + drift[0] * time + drift[1] * np.cos(3 * time) + noise).astype(np.float32)


def by_nilearn(series: np.ndarray, **options) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nilearn_clean(
            series.astype(np.float64), t_r=TR_S, standardize="zscore_sample", **options
        )


@pytest.mark.parametrize("cutoff_s", [64.0, 100.0, 128.0, 150.0, 700.0])
def test_cosine_equals_nilearn(cutoff_s):
    series = drifting_series()
    cleaned, _ = clean(series, "cosine", cutoff_s, TR_S)
    expected = by_nilearn(series, detrend=False, filter="cosine", high_pass=1 / cutoff_s)
    assert cleaned.dtype == np.float32
    np.testing.assert_allclose(cleaned, expected, atol=1e-4)


def test_linear_equals_nilearn():
    series = drifting_series()
    cleaned, _ = clean(series, "linear", 128.0, TR_S)
    expected = by_nilearn(series, detrend=True, high_pass=None)
    np.testing.assert_allclose(cleaned, expected, atol=1e-4)


@pytest.mark.parametrize("cutoff_s", [64.0, 128.0, 700.0])
def test_cosine_and_linear_equal_nilearn(cutoff_s):
    series = drifting_series()
    cleaned, _ = clean(series, "cosine_linear", cutoff_s, TR_S)
    expected = by_nilearn(series, detrend=True, filter="cosine", high_pass=1 / cutoff_s)
    np.testing.assert_allclose(cleaned, expected, atol=1e-4)
    assert np.abs(cleaned - clean(series, "cosine", cutoff_s, TR_S)[0]).max() > 0.1
    basis = drift_basis(225, "cosine_linear", cutoff_s, TR_S)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)


def test_basis_is_that_of_the_first_level_design_matrix():
    from nilearn.glm.first_level import make_first_level_design_matrix

    design = make_first_level_design_matrix(
        np.arange(225) * TR_S, drift_model="cosine", high_pass=1 / 128
    )
    basis = drift_basis(225, "cosine", 128.0, TR_S)
    assert basis.shape == design.shape == (225, 5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    drift = design.drop(columns="constant").to_numpy()
    np.testing.assert_allclose(basis[:, 1:], drift / np.linalg.norm(drift, axis=0), atol=1e-12)


def test_removes_long_and_keeps_short_periods():
    time_s = np.arange(225) * TR_S
    series = np.cos(2 * np.pi * time_s[:, None] / [300.0, 20.0]) + 600
    random = np.random.default_rng(0).standard_normal((225, 2))
    cleaned, _ = clean(series + 0.1 * random, "cosine", 128.0, TR_S)
    slow, fast = (np.corrcoef(c, s)[0, 1] for c, s in zip(cleaned.T, series.T, strict=True))
    assert abs(slow) < 0.1
    assert fast > 0.9


def test_voxels_without_signal_are_zero_and_counted():
    series = drifting_series(8)
    series[:, 0] = 0
    series[:, 1] = 1234.567
    series[:, 2] = np.arange(225)
    series[7, 3] = np.nan
    series[:, 4] = np.inf
    original = series.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cleaned, quality = clean(series, "linear", 128.0, TR_S)
    np.testing.assert_array_equal(series, original)
    assert (cleaned[:, :5] == 0).all()
    np.testing.assert_allclose(cleaned[:, 5:].std(axis=0, ddof=1), 1, atol=1e-5)
    assert (quality.constant, quality.nonfinite) == (3, 2)


def test_quality_reports_mean_and_tsnr():
    random = np.random.default_rng(0)
    series = 600 + 10 * random.standard_normal((225, 500))
    _, quality = clean(series, "cosine", 128.0, TR_S)
    assert quality.mean == pytest.approx(600, abs=1)
    assert quality.tsnr == pytest.approx(60, rel=0.02)
    _, silent = clean(np.zeros((225, 3)), "cosine", 128.0, TR_S)
    assert (silent.constant, silent.mean, silent.tsnr) == (3, 0.0, 0.0)


def test_refuses_a_cutoff_that_leaves_nothing():
    with pytest.raises(UserError, match="cutoff_s is 2"):
        clean(drifting_series(), "cosine", 2.0, TR_S)
