"""What is reconstructed to test a model, and how it is scored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boldvision.config.section import (
    Distinct,
    Metric,
    Name,
    Place,
    Section,
    Text,
    WindowName,
)


class TestSet(Section):
    """Which windows and which trials of a split's test part are reconstructed."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    windows: Distinct[WindowName] = Field(
        min_length=1, description="window names; `own` is the model's training window"
    )
    trials: Literal["one_repetition", "all", "averaged"] = Field(
        description="one drawn repetition per image, every trial, or the mean of the repetitions"
    )
    trials_at_most: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="draw so many of them, the same for every window and model; null: no limit",
    )
    stored: Literal["pictures", "latents"] = Field(
        "pictures",
        description="what is kept: pictures, or latents of decoders that have them, 24 x smaller, "
        "which are decoded to be scored and cannot be shown",
    )

    @property
    def draws(self) -> bool:
        """Whether `data_seed` says which trials these are."""
        return self.trials == "one_repetition" or self.trials_at_most is not None

    @model_validator(mode="after")
    def _draws_trials(self) -> TestSet:
        if self.trials == "averaged" and self.trials_at_most:
            raise ValueError("`trials_at_most`: averages have no trials to draw; expected null")
        return self


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
