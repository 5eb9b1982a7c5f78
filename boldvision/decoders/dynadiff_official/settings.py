"""Settings of the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from boldvision.config.section import Place, Section
from boldvision.decoders.dynadiff import settings as dynadiff
from boldvision.decoders.record import OFFICIAL

if TYPE_CHECKING:
    from boldvision.config import Config


class Training(Section):
    """What is to be known of a training that was not here."""

    unconditional: Literal["zeros"] = Field("zeros", description="as in the released code")


class Run(dynadiff.Run):
    """Dynadiff with the weights that its authors published."""

    decoder: Literal["dynadiff_official"] = Field(  # type: ignore[assignment]
        description="a package of boldvision.decoders"
    )
    weights: Place | None = Field(
        None, description="folder with `sub01` … of facebook/dynadiff; null: they are not there"
    )
    sessions: None = Field(None, description="null: nothing is trained here")
    pretrained: None = Field(None, description="null: nothing is trained here")
    latents: None = Field(None, description="null: nothing is trained here")  # type: ignore[assignment]
    finetune: Literal["lora"] = Field("lora", description="what the authors trained of the U-Net")
    training: Training = Training()  # type: ignore[assignment]

    label: ClassVar[str] = OFFICIAL

    def lacks(self) -> str:
        """The weights, until they are downloaded."""
        if self.weights:
            return ""
        return (
            "`weights`: expected the folder with the authors' weights, found null; download "
            "facebook/dynadiff from Hugging Face and set it (docs/real_data.md)"
        )

    def target_names(self) -> tuple[str, ...]:
        """None: nothing is trained here."""
        return ()

    def check(self, config: Config) -> None:
        """Nothing is trained here, so nothing must fit."""
