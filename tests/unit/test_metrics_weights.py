import hashlib
import json
import pickle

import numpy as np
import pytest
import torch

from boldvision import cli
from boldvision.config import Network
from boldvision.errors import UserError
from boldvision.metrics import weights
from boldvision.metrics.architectures import NETWORKS
from boldvision.metrics.networks import FeatureNetwork
from boldvision.metrics.sources import SOURCES, Source


def load(name, how="random", folder="nowhere", protocol="dynadiff"):
    return FeatureNetwork(Network(name=name, weights=how), protocol=protocol, folder=folder)


def test_sources_are_torchvisions():
    from torchvision import models

    expected = {
        "alexnet": models.AlexNet_Weights.IMAGENET1K_V1,
        "inception_v3": models.Inception_V3_Weights.IMAGENET1K_V1,
        "efficientnet_b1/IMAGENET1K_V1": models.EfficientNet_B1_Weights.IMAGENET1K_V1,
        "efficientnet_b1/IMAGENET1K_V2": models.EfficientNet_B1_Weights.IMAGENET1K_V2,
        "mobilenet_v2": models.MobileNet_V2_Weights.IMAGENET1K_V1,
        "lraspp_mobilenet_v3": models.segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT,
    }
    for name, enum in expected.items():
        assert SOURCES[name].url == enum.url
        assert SOURCES[name].sha256 in SOURCES[name].file


@pytest.mark.parametrize("text", ["Random", "pretrained@main", "pretrained#sha256=12", ""])
def test_wrong_weights_are_named(text):
    with pytest.raises(UserError, match="expected `random`, `pretrained`"):
        weights.parse(text)


def test_missing_weights_name_the_stage(tmp_path):
    with pytest.raises(UserError, match=r"python -m boldvision weights") as error:
        load("inception_v3", "pretrained", folder=tmp_path)
    assert "inception_v3_google-0cc3c7bd.pth" in str(error.value)


def test_unknown_network_and_network_without_weights():
    with pytest.raises(UserError, match=r"'resnet': expected one of alexnet"):
        load("resnet")
    with pytest.raises(UserError, match="no pretrained weights"):
        load("vit_small", "pretrained")


def run(tmp_path, how="pretrained"):
    folder = tmp_path / "weights"
    settings = {
        "networks": {"swav": {"name": "swav", "weights": how}},
        "sets": {},
        "weights_folder": str(folder),
    }
    out = str(folder / "nsd.tsv")
    return cli.main(["weights", "--settings", json.dumps(settings), "--out", out])


@pytest.fixture
def swav_file(tmp_path, monkeypatch):
    """A state dict as SwAV's authors publish it, and its digest."""
    state = NETWORKS["swav"].build().state_dict()
    state = {f"module.{key}": value.clone() for key, value in state.items()}
    state["module.conv1.weight"].fill_(0.25)
    for head in ("projection_head.0", "prototypes"):
        state[f"module.{head}.weight"] = torch.zeros(2)
    path = tmp_path / "published.pth"
    torch.save(state, path)
    source = Source("swav_800ep_pretrain.pth.tar", path.as_uri(), None)
    monkeypatch.setitem(SOURCES, "swav", source)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_stage_fetches_checks_and_records(tmp_path, swav_file, capsys):
    folder = tmp_path / "weights"
    assert run(tmp_path) == 1
    assert swav_file in capsys.readouterr().err
    assert not list(folder.iterdir())

    assert run(tmp_path, f"pretrained#sha256={'0' * 64}") == 1
    assert not list(folder.iterdir())

    pinned = f"pretrained#sha256={swav_file}"
    assert run(tmp_path, pinned) == 0
    header, row = (folder / "nsd.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "bytes", "sha256"]
    assert row.split("\t")[::2] == ["swav_800ep_pretrain.pth.tar", swav_file]

    SOURCES["swav"] = Source("swav_800ep_pretrain.pth.tar", "file:///gone", None)
    assert run(tmp_path, pinned) == 0  # nothing is fetched twice
    loaded = load("swav", pinned, folder=folder)
    assert (loaded._model.conv1.weight == 0.25).all()
    assert swav_file in loaded.identity

    with (folder / "swav_800ep_pretrain.pth.tar").open("ab") as file:
        file.write(b"!")
    with pytest.raises(UserError, match="expected sha256"):
        load("swav", pinned, folder=folder)


def test_unreachable_address_and_unknown_revision(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SOURCES, "swav", Source("a", "file:///nowhere/a", "00"))
    assert run(tmp_path) == 1
    assert "This stage needs a network" in capsys.readouterr().err
    mask2former = Network(name="mask2former", weights="pretrained")
    with pytest.raises(UserError, match="pretrained@REVISION#sha256=DIGEST"):
        weights.fetch(mask2former, protocol="dynadiff", folder=tmp_path)


def test_efficientnet_file_follows_the_protocol(tmp_path):
    for protocol, file in (("dynadiff", "rwightman-bac287d4"), ("mindeye", "b1-c27df63c")):
        with pytest.raises(UserError, match=file):
            load("efficientnet_b1", "pretrained", folder=tmp_path, protocol=protocol)


def test_clip_reads_the_vision_half_of_a_published_checkpoint(tmp_path, monkeypatch):
    import transformers

    shape = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    whole = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={**shape, "num_hidden_layers": 2, "patch_size": 112, "image_size": 224},
            text_config={**shape, "num_hidden_layers": 1, "vocab_size": 50},
            projection_dim=16,
        )
    ).eval()
    whole.save_pretrained(tmp_path / "clip_vit_l14")
    file = tmp_path / "clip_vit_l14" / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    vision = transformers.CLIPVisionConfig(
        **shape, num_hidden_layers=2, patch_size=112, image_size=224, projection_dim=16
    )
    full = NETWORKS["clip_vit_l14"]
    architecture = type(full)(
        lambda: transformers.CLIPVisionModelWithProjection(vision),
        full.read,
        normalization=full.normalization,
        load=full.load,
    )
    monkeypatch.setitem(NETWORKS, "clip_vit_l14", architecture)
    found = load("clip_vit_l14", f"pretrained#sha256={digest}", folder=tmp_path)
    pixels = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode():
        expected = whole.get_image_features(pixel_values=pixels)
        expected = getattr(expected, "pooler_output", expected)
        np.testing.assert_allclose(found._model(pixel_values=pixels).image_embeds, expected)


def test_flax_arrays_refuses_code(tmp_path):
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"a": print}))
    with pytest.raises(UserError, match="only NumPy arrays"):
        weights.flax_arrays(path)
