"""What every network's settings have in common."""

from __future__ import annotations

from pydantic import Field

from boldvision.config.section import (
    LONGEST_TEXT,
    SHA256,
    URL,
    Name,
    Place,
    Section,
    Text,
    Word,
)


class File(Section):
    """A file that is published."""

    url: str = Field(
        pattern=URL,
        max_length=LONGEST_TEXT,
        description="where it is; a revision in it pins it",
    )
    sha256: str | None = Field(
        None,
        pattern=SHA256,
        description="of its content; null: nobody publishes it, the first one found is trusted",
    )


class BaseNetwork(Section):
    """Settings of a frozen network, whose weights ship, are fetched, or are there."""

    kind: Name = Field(description="a package of boldvision.networks")
    folder: Place = Field(description="folder of its weights")
    files: dict[Word, File] = Field(
        default_factory=dict,
        description="published files that `folder` is made of, by name; none: it is there",
    )
    label: Text = Field("", description="what the weights are; shown wherever results are shown")
