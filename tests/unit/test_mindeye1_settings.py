"""What MindEye1's settings refuse."""

import re

import pytest
from whole_config import changed, whole_config

from boldvision.config.load import load_config
from boldvision.errors import UserError


@pytest.fixture(scope="module")
def values():
    return whole_config()


@pytest.mark.survives(
    "names",
    "MindEye1 is to draw with a generator whose tokens are not those that its CLIP makes",
    "Refused before anything is trained; both shapes are named",
)
def test_a_generator_of_other_tokens_is_refused(values):
    told = (
        r"`generator`: expected one of 17 x 64 tokens, which clip makes .*, found tiny of 16 x 32"
    )
    with pytest.raises(UserError, match=told):
        load_config(changed(values, ("runs", "mindeye1", "generator"), "tiny"))


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("clip", "convnext", "`clip`: expected a network of kind clip, found one of convnext"),
        ("latents", "clip_image", "`latents`: expected a target of kind vae"),
        ("reconstruction.strength", 0.01, "`strength`: 0.01 of `steps`, 20, is less than one step"),
        (
            "high_level.contrast.soft_temperatures",
            [0, 0.1],
            "soft_temperatures.0: .*greater than 0",
        ),
    ],
)
def test_settings_agree(values, place, value, told):
    with pytest.raises(UserError) as refused:
        load_config(changed(values, ("runs", "mindeye1", *place.split(".")), value))
    assert re.search(told, str(refused.value))


def test_tokens_that_augmented_images_have_no_use_for_are_not_made(values):
    place = ("runs", "mindeye1", "high_level", "augment")
    for augment, targets in ((False, ("clip_image_once", "sd_latents")), (True, ("sd_latents",))):
        assert (
            load_config(changed(values, place, augment)).run("mindeye1").target_names() == targets
        )
