"""How BOLD becomes a clean series, and which stretches of it are decoded."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boldvision.config.section import Place, Section, Text, Word

TR_S = 4 / 3
"""Sampling period of func1pt8mm and of the design files, s (NSD Data Manual, time series)."""

RUN_S = 300.0
"""Length of a task run, s: 225 volumes (NSD Data Manual)."""

Detrend = Literal["cosine", "linear"]
Cutoff = Annotated[float, Field(ge=10, le=100_000)]
"""s; a shorter period would take the responses away."""


class NsdPrep(Section):
    """NSD's own volumes in func1pt8mm, masked by nsdgeneral (paper, section 2.3)."""

    kind: Literal["nsd_prep"] = Field(description="NSD's pre-processed time series")
    detrend: Detrend = Field(description="cosine: the paper; linear: the released code")
    cutoff_s: Cutoff = Field(128.0, description="longest period kept by cosine, s")
    dtype: Literal["float16", "float32"] = Field("float32", description="type on disk")

    @property
    def tr_s(self) -> float:
        """Sampling period, s."""
        return TR_S

    @property
    def first_volume_s(self) -> float:
        """Time of the first volume after the start of the run, s."""
        return 0.0


class Betas(Section):
    """Single-trial response amplitudes, one sample per trial (paper, Table 4)."""

    kind: Literal["betas"] = Field(description="NSD's single-trial betas")
    betas: Word = Field("betas_fithrf_GLMdenoise_RR", description="which betas of the bucket")
    file: Literal["nii.gz", "hdf5"] = Field("nii.gz", description="which of the two files")
    dtype: Literal["float16", "float32"] = Field("float32", description="type on disk")


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

    start_s: float = Field(
        ge=-RUN_S, le=RUN_S, description="start after image onset, s; 0 for betas"
    )
    n_tr: int = Field(ge=1, le=225, description="samples (TRs)")

    @model_validator(mode="after")
    def _is_within_a_run(self) -> Window:
        if (end := self.start_s + self.n_tr * TR_S) > RUN_S:
            raise ValueError(
                f"ends {end:.0f} s after the onset: expected an end within a run of {RUN_S:.0f} s; "
                "change `start_s` or `n_tr`"
            )
        return self


def split_window_name(name: str) -> tuple[str, int]:
    """``main+2`` is window ``main`` shifted by 2 TRs; ``main`` is shifted by 0."""
    match = re.fullmatch(r"([a-z][a-z0-9_]*)([+-][0-9]{1,3})?", name)
    if match is None:
        raise ValueError(f"window {name!r}: expected a name of `windows`, as in main or main+2")
    return match[1], int(match[2] or 0)
