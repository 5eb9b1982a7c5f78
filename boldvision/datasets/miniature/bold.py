"""Simulated BOLD: image features -> voxel weights -> haemodynamic response -> drift and noise.

Everything random is drawn from seeds, and what was drawn is the known answer of later checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.stats import gamma

from boldvision.config import Miniature
from boldvision.datasets.miniature.scenes import CATEGORIES, Scene
from boldvision.datasets.nsd.runs import FILE_VOLUMES, STIMULUS_S, TR_S
from boldvision.seeds import numpy_generator

BASELINE = 600.0
"""Raw units of the mean signal."""

RESPONSE_STD = 6.0
"""Raw units: 1 % signal change between images."""

STEPS_PER_TR = 20
"""Responses are computed in steps of TR / 20, so that an image lasts 3 s and not two samples."""

HRF_LIBRARY = np.array(
    [
        [4.47, 19.76, 0.58, 5.87, 2.54],
        [4.67, 20.43, 0.58, 3.24, 3.14],
        [4.85, 20.74, 0.60, 1.99, 3.92],
        [4.68, 20.61, 0.72, 1.43, 4.95],
    ]
)
"""Double-gamma responses: delays and dispersions of response and undershoot (s), and their ratio.

Members 9 to 12 of the library of 20 that NSD's betas choose from (Allen et al. 2022, Methods;
Prince et al. 2022, GLMsingle), rounded.
"""


@dataclass(frozen=True)
class Voxelwise:
    """The known answer of one subject, per voxel."""

    weights: np.ndarray
    """[features, voxels]: response of unit std to standardized features."""
    hrf: np.ndarray
    """[voxels]: row of ``HRF_LIBRARY``."""
    group: np.ndarray
    """[voxels]: 0 early (local colour), 1 middle (contrast and place), 2 late (category)."""


def double_gamma(parameters: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Response to an impulse at time 0, sampled at `t` seconds."""
    peak, undershoot, peak_width, undershoot_width, ratio = parameters
    rise = gamma.pdf(t, peak / peak_width, scale=peak_width)
    return rise - gamma.pdf(t, undershoot / undershoot_width, scale=undershoot_width) / ratio


def stimulus_response(parameters: np.ndarray, step_s: float = TR_S / STEPS_PER_TR) -> np.ndarray:
    """Response to a 3-s image, peak 1, sampled every `step_s` from onset to 32 s."""
    t = np.arange(0, 32, step_s)
    boxcar = np.ones(round(STIMULUS_S / step_s))
    response = np.convolve(double_gamma(parameters, t), boxcar)[: len(t)]
    return response / response.max()


def peak_s(parameters: np.ndarray) -> float:
    """Time from image onset to the peak of the response, s."""
    return float(np.argmax(stimulus_response(parameters, 0.01)) * 0.01)


def image_features(images: np.ndarray, scenes: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """What voxels respond to, standardized over images.

    Parameters
    ----------
    images : ndarray of uint8, [N, px, px, 3]
    scenes : list of Scene

    Returns
    -------
    features : ndarray, [N, F]
    group : ndarray of int, [F]
        0 local colour on a 6 x 6 grid; 1 local contrast on the grid, place and size; 2 category.
    """
    px = images.shape[1]
    cell = px // 6
    cells = images[:, : 6 * cell, : 6 * cell].reshape(-1, 6, cell, 6, cell, 3).astype(np.float64)
    colour = cells.mean((2, 4)).reshape(len(images), -1)
    contrast = cells.std((2, 4)).mean(-1).reshape(len(images), -1)
    place = np.array([[*scene.centre, scene.radius] for scene in scenes])
    category = np.eye(len(CATEGORIES))[[scene.category for scene in scenes]]
    parts = [colour, np.hstack([contrast, place, place, place]), category]
    group = np.repeat([0, 1, 2], [part.shape[1] for part in parts])
    features = np.hstack(parts)
    return (features - features.mean(0)) / (features.std(0) + 1e-9), group


def draw_voxels(
    subject: str, n_voxels: int, features: np.ndarray, group: np.ndarray, settings: Miniature
) -> Voxelwise:
    """Draw a subject's voxels: a quarter late, a quarter middle, half early.

    Every voxel weighs a few features of its own group. A subject has its own typical response,
    and a voxel that one or a neighbour in the library.
    """
    random = numpy_generator(settings.seed, "voxels", subject)
    voxel_group = np.sort(random.choice(3, n_voxels, p=[0.5, 0.25, 0.25]))
    weights = np.zeros((features.shape[1], n_voxels))
    for voxel, of in enumerate(voxel_group):
        members = np.flatnonzero(group == of)
        chosen = random.choice(members, min(6, len(members)), replace=False)
        weights[chosen, voxel] = random.standard_normal(len(chosen))
    weights /= (features @ weights).std(0)
    typical = int(random.integers(1, len(HRF_LIBRARY) - 1))
    near = np.clip(typical + random.integers(-1, 2, n_voxels), 0, len(HRF_LIBRARY) - 1)
    return Voxelwise(weights, near, voxel_group)


def run_response(onset_rows: np.ndarray, amplitude: np.ndarray, hrf: np.ndarray) -> np.ndarray:
    """Noise-free series of one run.

    Parameters
    ----------
    onset_rows : ndarray of int, [trials]
        Design rows of the onsets; row r is r * 4/3 s.
    amplitude : ndarray, [trials, voxels]
        Peak response of each trial.
    hrf : ndarray of int, [voxels]

    Returns
    -------
    ndarray, [226, voxels]
    """
    impulses = np.zeros((FILE_VOLUMES, amplitude.shape[1]))
    impulses[onset_rows] = amplitude
    series = np.empty_like(impulses)
    for member in np.unique(hrf):
        kernel = stimulus_response(HRF_LIBRARY[member])[::STEPS_PER_TR]
        series[:, hrf == member] = lfilter(kernel, 1, impulses[:, hrf == member], axis=0)
    return series


def run_noise(random: np.random.Generator, n_voxels: int, settings: Miniature) -> np.ndarray:
    """AR(1) noise of std ``noise`` x ``RESPONSE_STD`` and slow drift, raw units, [226, voxels]."""
    white = random.standard_normal((FILE_VOLUMES, n_voxels))
    white[0] /= np.sqrt(1 - settings.ar1**2)
    noise = np.sqrt(1 - settings.ar1**2) * lfilter([1], [1, -settings.ar1], white, axis=0)
    t = np.linspace(0, 1, FILE_VOLUMES)
    slow = np.stack([t - 0.5, np.cos(np.pi * t), np.cos(2 * np.pi * t)], axis=1)
    drift = slow @ random.standard_normal((3, n_voxels))
    return RESPONSE_STD * (settings.noise * noise + drift)


def single_trial_ceiling(settings: Miniature) -> float:
    """Share of a voxel's variance between trials, at the peak, that the image explains."""
    return 1 / (1 + settings.noise**2)
