"""The data: where they are and what they must be."""

from __future__ import annotations

from pydantic import Field

from boldvision.config.section import Section


class S3(Section):
    """Where the raw data are."""

    bucket: str = Field("natural-scenes-dataset", description="S3 bucket")
    region: str = Field("us-east-2", description="AWS region of the bucket")
    endpoint: str | None = Field(None, description="S3 endpoint address; null means AWS")
    serve: str | None = Field(
        None, description="folder served as that bucket on loopback around each download"
    )


class Subject(Section):
    """A participant, as the bucket describes them; asserted when the data enter."""

    number: int = Field(ge=1, le=8, description="1-based row of `subjectim`")
    sessions: int = Field(ge=1, description="NSD core sessions")
    rest_sessions: list[int] = Field(
        default_factory=list, description="sessions of 14 files whose first and last run are rest"
    )
    grid: tuple[int, int, int] = Field(description="voxels of the func1pt8mm volume, X Y Z")
    voxels: int = Field(ge=1, description="voxels of nsdgeneral (label > 0)")


class Design(Section):
    """The experiment's size, asserted against nsd_expdesign.mat."""

    images: int = Field(73000, description="rows of the stimulus file")
    images_per_subject: int = Field(10000, description="distinct images of one subject")
    shared_images: int = Field(1000, description="images that every subject sees")
    image_px: int = Field(425, description="side of a stimulus, pixels")
    expdesign_sha256: str | None = Field(None, description="sha256 of nsd_expdesign.mat")


class Miniature(Section):
    """The simulated dataset with a known answer."""

    seed: int = Field(0, ge=0, description="seed of scenes, design, weights and noise")
    noise: float = Field(
        gt=0, description="std of the AR(1) noise, in units of the std of the image response"
    )
    ar1: float = Field(0.4, ge=0, lt=1, description="autocorrelation of the noise at lag 1 TR")
