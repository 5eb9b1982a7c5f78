"""The data: where they are and what they must be."""

from __future__ import annotations

from math import prod
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from boldvision.config.section import SHA256, Distinct, Place, Section, Seed, Word

Side = Annotated[int, Field(ge=1, le=1000)]
Session = Annotated[int, Field(ge=1, le=40)]
"""1-based; NSD has 40 core sessions (NSD Data Manual)."""


class Bucket(Section):
    """A bucket that anyone may read."""

    bucket: Word = Field(description="S3 bucket")
    region: Word = Field(description="AWS region of the bucket")
    endpoint: str | None = Field(None, description="S3 endpoint address; null means AWS")

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        expected = "expected http://HOST:PORT or https://HOST:PORT"
        try:
            url = urlsplit(endpoint)
            well_formed = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            well_formed = False
        if "@" in endpoint:
            raise ValueError(f"{expected} without user and password; access is anonymous")
        if not well_formed or url.query or url.fragment or not endpoint.isprintable():
            raise ValueError(f"{expected}, found {endpoint!r}")
        return endpoint


class S3(Bucket):
    """Where the raw data are."""

    bucket: Word = Field("natural-scenes-dataset", description="S3 bucket")
    region: Word = Field("us-east-2", description="AWS region of the bucket")
    serve: Place | None = Field(
        None,
        description="folder served as that bucket, and as COCO's, on loopback around each download",
    )


class Coco(Bucket):
    """Where COCO's annotations are: what people said of the images."""

    bucket: Word = Field("images.cocodataset.org", description="S3 bucket of COCO")
    region: Word = Field("us-east-1", description="AWS region of the bucket")
    folder: Place | None = Field(
        None,
        description="a folder that has them, captions_train2017.json and captions_val2017.json or "
        "the archive annotations_trainval2017.zip, used in place; null: the archive is fetched",
    )
    sha256: str | None = Field(None, pattern=SHA256, description="sha256 of the archive")


class Subject(Section):
    """A participant, as the bucket describes them; asserted when the data enter."""

    number: int = Field(ge=1, le=8, description="1-based row of `subjectim`")
    sessions: Session = Field(description="NSD core sessions")
    rest_sessions: Distinct[Session] = Field(
        default_factory=list, description="sessions of 14 files whose first and last run are rest"
    )
    grid: tuple[Side, Side, Side] = Field(description="voxels of the func1pt8mm volume, X Y Z")
    voxels: int = Field(ge=1, le=1_000_000_000, description="voxels of nsdgeneral (label > 0)")

    @model_validator(mode="after")
    def _counts_agree(self) -> Subject:
        if late := [session for session in self.rest_sessions if session > self.sessions]:
            raise ValueError(f"`rest_sessions`: {late} are beyond `sessions`, {self.sessions}")
        if self.voxels > prod(self.grid):
            raise ValueError(f"`voxels`: {self.voxels} are more than `grid` has, {prod(self.grid)}")
        return self


class Design(Section):
    """The experiment's size, asserted against nsd_expdesign.mat."""

    images: int = Field(73000, ge=1, le=1_000_000, description="rows of the stimulus file")
    images_per_subject: int = Field(
        10000, ge=1, le=1_000_000, description="distinct images of one subject"
    )
    shared_images: int = Field(
        1000, ge=1, le=1_000_000, description="images that every subject sees"
    )
    image_px: int = Field(425, ge=1, le=4096, description="side of a stimulus, pixels")
    expdesign_sha256: str | None = Field(
        None, pattern=SHA256, description="sha256 of nsd_expdesign.mat"
    )

    @model_validator(mode="after")
    def _is_a_design(self) -> Design:
        if not self.shared_images <= self.images_per_subject <= self.images:
            raise ValueError(
                "expected shared_images ≤ images_per_subject ≤ images, found "
                f"{self.shared_images}, {self.images_per_subject}, {self.images}"
            )
        return self


class Miniature(Section):
    """The simulated dataset with a known answer."""

    seed: Seed = Field(0, description="seed of scenes, design, weights and noise")
    noise: float = Field(
        gt=0,
        le=1000,
        description="std of the AR(1) noise, in units of the std of the image response",
    )
    ar1: float = Field(0.4, ge=0, lt=1, description="autocorrelation of the noise at lag 1 TR")
