"""How reconstructions are scored, and how much is run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boldvision.config.section import Distinct, Metric, Name, Place, Section, Text


class Network(Section):
    """A network that a metric compares images with."""

    name: Name = Field(description="a network of boldvision.metrics.networks")
    weights: Text = Field(
        description="`pretrained`, `pretrained@REVISION#sha256=DIGEST` to pin a file (each part "
        "optional), or `random` for seeded random weights (labelled as such)"
    )
    label: Text = Field(
        "", description="shown beside the metric when it is not the paper's network"
    )


class Metrics(Section):
    """How reconstructions are scored."""

    protocol: Literal["dynadiff", "mindeye", "brain_diffuser"] = Field(
        "dynadiff", description="whose image sizes, layers and networks"
    )
    direction: Literal["prediction", "stimulus"] = Field(
        "prediction",
        description="two-way: each prediction against all stimuli, or the reverse, where identical "
        "reconstructions score 0 and not chance",
    )
    networks: dict[Name, Network]
    sets: dict[Name, Annotated[Distinct[Metric], Field(min_length=1)]] = Field(
        description="named lists of metrics"
    )
    bootstrap: int = Field(
        2000,
        ge=100,
        le=1_000_000,
        description="bootstrap samples of an interval; two-way identification needs none",
    )
    batch_size: int = Field(
        32, ge=1, le=1_000_000, description="images compared together; no effect on values"
    )
    weights_folder: Place = Field("resources/weights", description="where fetched networks lie")
