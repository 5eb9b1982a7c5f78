"""How reconstructions are scored, and how much is run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from boldvision.config.section import Section


class Network(Section):
    """A network that a metric compares images with."""

    name: str = Field(description="a network of boldvision.metrics.networks")
    weights: str = Field(
        description="`pretrained`, `pretrained@REVISION#sha256=DIGEST` to pin what the project "
        "could not, or `random` for seeded random weights (labelled as such)"
    )
    label: str = Field("", description="shown beside the metric when it is not the paper's network")


class Metrics(Section):
    """How reconstructions are scored."""

    protocol: Literal["dynadiff", "mindeye", "brain_diffuser"] = Field(
        "dynadiff", description="whose image sizes, layers and networks"
    )
    direction: Literal["prediction", "stimulus"] = Field(
        "prediction", description="two-way: each prediction against all stimuli, or the reverse"
    )
    networks: dict[str, Network]
    sets: dict[str, list[str]] = Field(description="named lists of metrics")
    bootstrap: int = Field(2000, ge=100, description="bootstrap samples of an interval")
    batch_size: int = Field(32, ge=1, description="images compared together; no effect on values")
    weights_folder: str = Field("resources/weights", description="where fetched networks lie")
