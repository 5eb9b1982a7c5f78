"""Settings of the mean image."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from boldvision.config.runs import BaseRun, Pixels


class Run(BaseRun):
    """Settings of the floor that decoders are compared with: predicts the mean training image."""

    decoder: Literal["mean_image"] = Field(description="a package of boldvision.decoders")
    pretrained: None = Field(None, description="null: nothing is learned that others could use")
    image_px: Pixels = Field(description="side of the predicted image, pixels")

    random: ClassVar[bool] = False
