"""The targets `clip_image` and `clip_text`: what CLIP makes of images and captions."""

import json

import h5py
import numpy as np
import pytest
import torch
import yaml
from config_data import DEFAULT, NSD
from decoder_data import REPOSITORY
from PIL import Image

from boldvision import cli
from boldvision.captions import write_captions
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.datasets.miniature.scenes import caption, draw_scene, render
from boldvision.errors import UserError
from boldvision.networks.clip.network import load
from boldvision.networks.clip.settings import Network
from boldvision.networks.settings import BaseNetwork
from boldvision.targets.base import Frozen, Stimuli, TargetFile
from boldvision.targets.clip_image import network as image_network
from boldvision.targets.clip_image.settings import Target as ImageTarget
from boldvision.targets.clip_text import network as text_network
from boldvision.targets.clip_text.settings import Target as TextTarget

NAMED = yaml.safe_load((REPOSITORY / "boldvision/networks/clip/networks.yaml").read_text())
TINY = Network(**NAMED["miniature"]["clip"])
REAL = Network(**NAMED["miniature"]["clip"] | NAMED["real"]["clip"])
FROZEN = Frozen({}, {"clip": TINY}, "cpu")
IDS = np.array([4, 7, 9])


@pytest.fixture(scope="module")
def clip():
    return load(TINY)


@pytest.fixture(scope="module")
def stimuli():
    scenes = [draw_scene(3, number) for number in IDS.tolist()]
    pictures = np.stack([render(scene, 48) for scene in scenes])
    return Stimuli(IDS, pictures, [caption(scene) for scene in scenes])


def image_tokens(stimuli, via):
    target = ImageTarget(kind="clip_image", network="clip", resize_via=via)
    return image_network.load(target, FROZEN)(stimuli)["tokens"]


def text_tokens(captions, at_most=5):
    target = TextTarget(kind="clip_text", network="clip", at_most=at_most)
    stimuli = Stimuli(IDS[: len(captions)], np.zeros((len(captions), 8, 8, 3), np.uint8), captions)
    return text_network.load(target, FROZEN)(stimuli)["tokens"]


@pytest.mark.parametrize("batch", ["1", "8"])
def test_the_stage_writes_tokens_of_every_image(tmp_path, stimuli, batch):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["images"], file["image_id"] = stimuli.pictures, IDS
    said = dict(zip(IDS.tolist(), stimuli.captions, strict=True))
    write_captions(tmp_path / "captions.parquet", said)
    targets = {"clip_image": {"resize_via": 64}, "clip_text": {}}
    for kind, own in targets.items():
        target = {"kind": kind, "network": "clip", **own}
        settings = {"target": target, "generators": {}, "networks": {"clip": TINY.model_dump()}}
        command = ["target", "--settings", json.dumps(settings), "--batch-size", batch]
        command += ["--images", str(tmp_path / "images.h5"), "--out", str(tmp_path / kind)]
        said = ["--captions", str(tmp_path / "captions.parquet")] if kind == "clip_text" else []
        assert cli.main([*command, *said]) == 0
    image, text = (TargetFile(tmp_path / kind)["tokens"] for kind in targets)
    assert image.shape == (3, 17, 64)
    assert text.shape == (3, 16, 64)
    assert image.dtype == text.dtype == np.float16
    np.testing.assert_allclose(image, image_tokens(stimuli, 64), atol=2e-3)
    np.testing.assert_allclose(text, text_tokens(stimuli.captions), atol=2e-3)


def test_images_are_8_bit_pictures_twice_on_brain_diffusers_way(clip, stimuli):
    """As PIL resizes for CLIP's processor, and divided by 255 once."""
    expected = []
    for picture in stimuli.pictures:
        large = Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR)
        small = np.array(large.resize((32, 32), Image.Resampling.BICUBIC))
        expected.append(torch.tensor(small).permute(2, 0, 1) / 255)
    tokens = clip.image_tokens(clip.pixels(torch.stack(expected))).numpy()
    assert np.abs(image_tokens(stimuli, 64) - tokens).max() < 2e-3
    assert np.abs(image_tokens(stimuli, None) - tokens).max() > 8e-3


def test_images_are_resized_at_once_on_mindeye1s_way(clip, stimuli):
    pictures = torch.from_numpy(stimuli.pictures).permute(0, 3, 1, 2) / 255
    tokens = clip.image_tokens(clip.pixels(pictures)).numpy()
    np.testing.assert_allclose(image_tokens(stimuli, None), tokens, atol=2e-3)


def test_a_text_target_is_the_mean_over_captions_that_say_something(clip):
    said = ["a red boat", "there is a red boat low", "a red boat under a blue sky"]
    expected = torch.stack([clip.text_tokens([text])[0] for text in said])
    found = text_tokens([["", said[0], " ", *said[1:]], [said[1]]])
    np.testing.assert_allclose(found[0], expected.mean(dim=0), atol=2e-3)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-3)
    found = text_tokens([said], at_most=2)
    np.testing.assert_allclose(found[0], expected[:2].mean(dim=0), atol=2e-3)


@pytest.mark.survives(
    "networks",
    "An image whose captions are all empty",
    "The target's job stops and names the image; no mean over nothing is written",
)
def test_an_image_with_empty_captions_alone_is_refused():
    with pytest.raises(UserError, match="captions of image 7: expected one that is not empty"):
        text_tokens([["a red boat"], ["", " "]])


def test_a_network_of_another_kind_is_refused():
    other = Frozen({}, {"clip": BaseNetwork(kind="other", folder="there")}, "cpu")
    target = TextTarget(kind="clip_text", network="clip")
    with pytest.raises(UserError, match=r"networks\.clip: expected the kind clip, found other"):
        text_network.load(target, other)
    with pytest.raises(UserError, match=r"networks\.clip"):
        target.bytes_per_image({}, other.networks)


def test_costs_are_those_of_the_tokens():
    networks = {"clip": REAL}
    image = ImageTarget(kind="clip_image", network="clip", resize_via=512)
    text = TextTarget(kind="clip_text", network="clip")
    assert image.bytes_per_image({}, networks) == 257 * 768 * 2
    assert text.bytes_per_image({}, networks) == 77 * 768 * 2
    assert image.teraflop_per_image({}, networks) == pytest.approx(0.16, rel=0.02)
    assert text.teraflop_per_image({}, networks) == pytest.approx(5 * 0.0134, rel=0.02)
    assert text.captions
    assert not image.captions


@pytest.mark.parametrize(
    ("files", "via", "width"), [([DEFAULT], 64, 64), ([DEFAULT, NSD], 512, 768)]
)
def test_both_are_named_for_the_miniature_and_for_nsd(files, via, width):
    config = load_config(read_values(files))
    assert config.target("clip_image").resize_via == via
    for target in ("clip_image", "clip_text"):
        assert config.target(target).network_names() == ("clip",)
    assert config.network("clip").width == width
