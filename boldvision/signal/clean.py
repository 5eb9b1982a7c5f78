"""Raw series -> clean series: slow drift out, then z-scored, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boldvision.config.signal import Detrend
from boldvision.errors import UserError


@dataclass(frozen=True)
class RunQuality:
    """What one run looked like before and after cleaning.

    Attributes
    ----------
    constant
        Voxels without variance once the drift is out; their clean series is zero.
    nonfinite
        Voxels with a NaN or an infinity; their clean series is zero.
    mean
        Mean over volumes and finite voxels, raw units.
    tsnr
        Temporal signal-to-noise ratio, temporal mean over the standard deviation of the detrended
        series: median over the voxels that are neither constant nor non-finite (0 without any).
    """

    constant: int
    nonfinite: int
    mean: float
    tsnr: float


def clean(
    series: np.ndarray, detrend: Detrend, cutoff_s: float, tr_s: float
) -> tuple[np.ndarray, RunQuality]:
    """Regress out drift and z-score each voxel of one run.

    Equals ``nilearn.signal.clean(..., standardize="zscore_sample")`` with ``filter="cosine",
    high_pass=1 / cutoff_s, detrend=False`` (`cosine`), with ``detrend=True`` (`linear`) or with all
    of these, as is nilearn's default (`cosine_linear`), except that voxels without signal become
    zeros instead of amplified rounding errors.

    Parameters
    ----------
    series
        [volumes, voxels], raw units; not changed.
    detrend, cutoff_s, tr_s
        See `drift_basis`.

    Returns
    -------
    series : float32 [volumes, voxels]
        Mean 0 and sample standard deviation 1 per voxel; zeros where there is no signal.
    quality : RunQuality

    Raises
    ------
    UserError
        The cut-off would remove every period that the series can hold.
    """
    basis = drift_basis(len(series), detrend, cutoff_s, tr_s).astype(np.float32)
    finite = np.isfinite(series).all(axis=0)
    cleaned = np.array(series, dtype=np.float32, order="C")
    cleaned[:, ~finite] = 0
    mean = cleaned.mean(axis=0, dtype=np.float64)
    cleaned -= mean.astype(np.float32)

    before = _sample_std(cleaned)
    cleaned -= basis @ (basis.T @ cleaned)
    after = _sample_std(cleaned)

    # What projection leaves of a pure drift is its rounding error, about 1e-7 of it.
    varies = after > 1e-5 * before
    cleaned *= np.divide(1, after, where=varies, out=np.zeros_like(after))
    return cleaned, RunQuality(
        constant=int(np.sum(finite & ~varies)),
        nonfinite=int(np.sum(~finite)),
        mean=float(mean[finite].mean()) if finite.any() else 0.0,
        tsnr=float(np.median(mean[varies] / after[varies])) if varies.any() else 0.0,
    )


def drift_basis(n_volumes: int, detrend: str, cutoff_s: float, tr_s: float) -> np.ndarray:
    """Orthonormal columns that span slow drift, the constant first.

    `cosine` is the type II discrete cosine basis of SPM and nilearn
    (``nilearn.glm.first_level.design_matrix``): half periods that fit the run, as many as have a
    period of `cutoff_s` or more. `linear` is the constant and the slope, `cosine_linear` the
    cosines and then what they lack of the slope.

    Parameters
    ----------
    n_volumes
        Of the run.
    detrend
        `cosine`: the drift of the paper (section 2.3); `linear`: that of the released code;
        `cosine_linear`: both, which the paper's words do not rule out.
    cutoff_s
        Longest period that the cosines keep, s; `linear` does not use it.
    tr_s
        Sampling period, s.

    Returns
    -------
    float64 [n_volumes, columns]

    Raises
    ------
    UserError
        The cut-off would remove every period that the series can hold.
    """
    volume = np.arange(n_volumes)
    slope = volume - volume.mean()
    if detrend == "linear":
        basis = np.stack([np.ones(n_volumes), slope], axis=1)
    else:
        if cutoff_s <= 2 * tr_s:
            raise UserError(
                f"preprocessing: cutoff_s is {cutoff_s:g} s; expected more than two TRs "
                f"({2 * tr_s:g} s), or nothing is left of the signal; raise cutoff_s"
            )
        order = int(2 * n_volumes * tr_s / cutoff_s + 1e-9)
        basis = np.cos(np.pi / n_volumes * np.outer(volume + 0.5, np.arange(order + 1)))
    basis = basis / np.linalg.norm(basis, axis=0)
    if detrend == "cosine_linear":
        rest = slope - basis @ (basis.T @ slope)
        basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    return basis


def _sample_std(centred: np.ndarray) -> np.ndarray:
    """Standard deviation (ddof 1) of columns whose mean is 0, without a copy."""
    return np.sqrt(np.einsum("tv,tv->v", centred, centred) / (len(centred) - 1))
