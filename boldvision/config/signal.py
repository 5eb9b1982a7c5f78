"""How BOLD becomes a clean series, and which stretches of it are decoded."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boldvision.config.section import Place, Section, Shift, Text, Word
from boldvision.errors import UserError

Detrend = Literal["cosine", "linear", "cosine_linear"]
Cutoff = Annotated[float, Field(ge=10, le=100_000)]
"""s; a shorter period would take the responses away."""


class NsdPrep(Section):
    """NSD's own volumes in func1pt8mm, masked by nsdgeneral (paper, section 2.3)."""

    kind: Literal["nsd_prep"] = Field(description="NSD's pre-processed time series")
    detrend: Detrend = Field(
        description="cosine: the paper; linear: the released code; cosine_linear: both at once, "
        "nilearn's default with cosines"
    )
    cutoff_s: Cutoff = Field(128.0, description="longest period kept by cosine, s")
    dtype: Literal["float16", "float32"] = Field("float32", description="type on disk")
    tr_s: float = Field(4 / 3, gt=0.1, le=10, description="sampling period of the volumes, s")
    first_volume_s: float = Field(
        0.0, ge=0, le=10, description="time of the first volume in its run, s"
    )


class Betas(Section):
    """Single-trial response amplitudes, one sample per trial (paper, Table 4)."""

    kind: Literal["betas"] = Field(description="NSD's single-trial betas")
    betas: Word = Field("betas_fithrf_GLMdenoise_RR", description="which betas of the bucket")
    file: Literal["nii.gz", "hdf5"] = Field("nii.gz", description="which of the two files")
    dtype: Literal["float16", "float32"] = Field("float32", description="type on disk")

    def require(self, window: Window, where: str) -> None:
        """Raise UserError unless the window is the one sample that a trial has."""
        if (window.start_s, window.n_tr, window.shift) != (0, 1, 0):
            raise UserError(
                f"{where}: betas are one sample per trial, which no window moves: expected start_s "
                f"0, n_tr 1 and no shift, found start_s {window.start_s:g}, n_tr {window.n_tr}, "
                f"shift {window.shift:+d}; choose such a window, or time series"
            )


class FmriprepJob(Section):
    """How fMRIPrep runs; nothing here changes what it makes."""

    runtime: Literal["docker", "apptainer"] = Field("docker", description="what runs the container")
    image: Text | None = Field(
        None,
        description="Apptainer's image file, or a Docker image in place of "
        "`nipreps/fmriprep:VERSION`",
    )
    licence: Place = Field("license.txt", description="FreeSurfer's licence file")
    work: Place = Field(
        "work/fmriprep", description="working folder, on scratch; removed on success"
    )
    threads: int = Field(8, ge=1, le=1024, description="CPU threads of one subject's job")
    mem_gb: int = Field(32, ge=1, le=10_000, description="memory of one subject's job, GB")

    @model_validator(mode="after")
    def _has_an_image(self) -> FmriprepJob:
        if self.runtime == "apptainer" and self.image is None:
            raise ValueError("`runtime: apptainer` needs `image`, an image file (.sif)")
        return self


class Fmriprep(Section):
    """fMRIPrep from the raw BIDS data, projected to fsaverage5 (paper, Table 5)."""

    kind: Literal["fmriprep"] = Field(description="fMRIPrep, then 20,484 vertices of fsaverage5")
    version: Word = Field("23.2.0", description="version of fMRIPrep")
    space: Literal["MNI152NLin2009cAsym", "fsaverage5"] = Field(
        "MNI152NLin2009cAsym",
        description="output space: volumes that nilearn projects, as in the paper, or fMRIPrep's "
        "own projection",
    )
    # Left out of the settings of stages: neither is a reason to compute anything again.
    job: FmriprepJob = Field(FmriprepJob(), exclude=True)
    derivatives: Place | None = Field(
        None, exclude=True, description="existing derivatives, used in place of running fMRIPrep"
    )
    detrend: Detrend = Field("cosine", description="as in `nsd_prep`")
    cutoff_s: Cutoff = Field(128.0, description="longest period kept by cosine, s")
    dtype: Literal["float16", "float32"] = Field("float16", description="type on disk")
    volumes: int = Field(188, ge=1, le=1000, description="volumes of a run")
    tr_s: float = Field(1.6, gt=0.1, le=10, description="RepetitionTime of the raw data, s")
    first_volume_s: float = Field(
        0.775,
        ge=0,
        le=10,
        description="StartTime of fMRIPrep's output: slices are aligned to it, s",
    )


Preprocessing = Annotated[NsdPrep | Betas | Fmriprep, Field(discriminator="kind")]


class Window(Section):
    """A stretch of the series relative to the onset of a trial's image."""

    start_s: float = Field(ge=-300, le=300, description="start after image onset, s; 0 for betas")
    n_tr: int = Field(ge=1, le=225, description="samples (TRs)")
    shift: Shift = Field(0, description="samples later than the one nearest to `start_s`")

    def shifted(self, by: int) -> Window:
        """The same window, `by` samples later."""
        return Window(start_s=self.start_s, n_tr=self.n_tr, shift=self.shift + by)


def split_window_name(name: str) -> tuple[str, int]:
    """``main+2`` is window ``main`` shifted by 2 samples; ``main`` is shifted by 0."""
    match = re.fullmatch(r"([a-z][a-z0-9_]*)([+-][0-9]{1,3})?", name)
    if match is None:
        raise ValueError(f"window {name!r}: expected a name of `windows`, as in main or main+2")
    return match[1], int(match[2] or 0)
