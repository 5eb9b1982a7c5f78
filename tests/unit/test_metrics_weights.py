import hashlib
import json
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from boldvision import cli, trust
from boldvision.config import Network
from boldvision.errors import UserError
from boldvision.metrics import pins, weights
from boldvision.metrics.architectures import NETWORKS
from boldvision.metrics.flax import flax_arrays
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
        pins.parse(text)


@pytest.mark.survives(
    "networks",
    "A network's weights have not been fetched",
    "The error names the file and the stage that fetches it",
)
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


@pytest.mark.survives(
    "networks",
    "The publisher of a network gives no digest of its weights",
    "The digest found at the first fetch is recorded, said in the log and the scores, and holds",
)
def test_weights_without_a_digest_are_trusted_on_first_use(tmp_path, swav_file, capsys):
    folder = tmp_path / "weights"
    with pytest.raises(UserError, match="found no such file"):
        load("swav", "pretrained", folder=folder)
    assert run(tmp_path) == 0
    assert f"sha256 {swav_file} is trusted from now on" in capsys.readouterr().out
    header, row = (folder / "nsd.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "bytes", "sha256"]
    assert row.split("\t")[::2] == ["swav_800ep_pretrain.pth.tar", swav_file]
    network = Network(name="swav", weights="pretrained")
    said = weights.provenance(network, protocol="dynadiff", folder=folder)
    assert said == f"sha256 {swav_file} by trust on first use"

    loaded = load("swav", "pretrained", folder=folder)
    assert (loaded._model.conv1.weight == 0.25).all()
    assert swav_file in loaded.identity
    published = tmp_path / "published.pth"
    published.unlink()
    assert run(tmp_path) == 0  # nothing is fetched twice

    with (folder / "swav_800ep_pretrain.pth.tar").open("ab") as file:
        file.write(b"!")
    for again in (lambda: load("swav", "pretrained", folder=folder), lambda: fetch_swav(folder)):
        with pytest.raises(UserError, match=f"expected sha256 {swav_file} .by trust on first use"):
            again()


@pytest.mark.survives(
    "networks",
    "The first file of a network without a published digest was a web page",
    "The errors name its line in trusted.tsv; without file and line, the right one is trusted",
)
def test_a_first_file_that_was_bad_is_trusted_anew(tmp_path, swav_file):
    folder, published = tmp_path / "weights", tmp_path / "published.pth"
    whole = published.read_bytes()
    published.write_bytes(b"<html>")
    fetch_swav(folder)
    advice = r"delete it, with its line in trusted.tsv if it has one, and run the stage"
    with pytest.raises(UserError, match=f"the weights of swav, .*{advice}"):
        load("swav", "pretrained", folder=folder)
    published.write_bytes(whole)
    path = folder / "swav_800ep_pretrain.pth.tar"
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: .*by trust on first use.*{advice}"):
        fetch_swav(folder)
    ledger = folder / trust.LEDGER
    ledger.write_text(f"{trust.HEADER}\n")
    fetch_swav(folder)
    assert swav_file in load("swav", "pretrained", folder=folder).identity


def fetch_swav(folder, how="pretrained"):
    network = Network(name="swav", weights=how)
    return weights.fetch(network, protocol="dynadiff", folder=folder)


def test_a_copied_file_is_trusted_by_the_stage_and_not_before(tmp_path, swav_file):
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(tmp_path / "published.pth", folder / "swav_800ep_pretrain.pth.tar")
    with pytest.raises(UserError, match="found no record of them"):
        load("swav", "pretrained", folder=folder)
    fetch_swav(folder)
    assert swav_file in load("swav", "pretrained", folder=folder).identity


@pytest.mark.survives(
    "networks",
    "Weights are not those that the configuration pins",
    "They are removed, and the error names the file and both digests",
)
def test_another_file_than_the_pinned_one_is_refused(tmp_path, swav_file, capsys):
    folder = tmp_path / "weights"
    assert run(tmp_path, f"pretrained#sha256={'0' * 64}") == 1
    error = capsys.readouterr().err
    assert f"expected sha256 {'0' * 64} (by the configuration), found {swav_file}" in error
    assert not list(folder.iterdir())
    assert run(tmp_path, f"pretrained#sha256={swav_file}") == 0
    assert not (folder / trust.LEDGER).exists()


def test_a_trusted_file_of_another_address_is_refused(tmp_path, swav_file, monkeypatch):
    fetch_swav(tmp_path)
    other = Source("swav_800ep_pretrain.pth.tar", "file:///elsewhere", None)
    monkeypatch.setitem(SOURCES, "swav", other)
    with pytest.raises(UserError, match=r"expected the file of file:///elsewhere, found that of"):
        fetch_swav(tmp_path)


@pytest.mark.survives(
    "names",
    "A pin is given that a network's weights cannot keep",
    "It is refused, with what may be pinned instead; no pin is ignored",
)
@pytest.mark.parametrize(
    ("name", "pin", "message"),
    [
        ("swav", f"@{'a' * 40}", "expected no revision"),
        ("inception_v3", f"@{'a' * 40}", "expected no revision"),
        ("dreamsim", f"@{'a' * 40}", "dreamsim: expected no revision"),
        ("efficientnet_lite0", f"#sha256={'0' * 64}", "that of the package efficientnet-lite0"),
        ("alexnet", f"#sha256={'0' * 64}", "alexnet-owt-7be5be79.pth: expected the weights"),
    ],
)
def test_no_pin_is_ignored(tmp_path, name, pin, message):
    with pytest.raises(UserError, match=message):
        load(name, f"pretrained{pin}", folder=tmp_path)


@pytest.mark.survives(
    "networks",
    "Several networks cannot be fetched",
    "One error names them all, and the others are fetched",
)
def test_all_faults_are_reported_at_once(tmp_path, swav_file, monkeypatch, capsys):
    for name in ("inception_v3", "efficientnet_b1/IMAGENET1K_V1"):
        monkeypatch.setitem(SOURCES, name, Source(f"{name}.pth", f"file:///nowhere/{name}", "00"))
    networks = [
        Network(name=name, weights="pretrained")
        for name in ("inception_v3", "swav", "efficientnet_b1")
    ]
    with pytest.raises(UserError) as error:
        weights.fetch_all(networks, protocol="dynadiff", folder=tmp_path / "w", out=tmp_path / "o")
    assert len(str(error.value).splitlines()) == 2
    assert (tmp_path / "w" / "swav_800ep_pretrain.pth.tar").exists()
    assert not (tmp_path / "o").exists()


def test_mask2former_is_the_commit_that_has_safetensors(tmp_path):
    network = Network(name="mask2former", weights="pretrained")
    found = pins.expected(network, protocol="dynadiff", folder=tmp_path)
    assert "mask2former-swin-large-coco-panoptic/resolve/a4edee47b1b2" in found.url
    assert (found.sha256, found.known) == ("", "trust on first use")


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
    monkeypatch.setattr("socket.socket.connect", None)  # a network would be an error
    found = load("clip_vit_l14", f"pretrained#sha256={digest}", folder=tmp_path)
    pixels = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode():
        expected = whole.get_image_features(pixel_values=pixels)
        expected = getattr(expected, "pooler_output", expected)
        np.testing.assert_allclose(found._model(pixel_values=pixels).image_embeds, expected)


DAMAGED = {
    "empty": b"",
    "a page": b"<html><body>404</body></html>",
    "a malicious pickle": None,
    "another network": None,
    "a list": None,
}


@pytest.mark.survives(
    "files",
    "A file of weights is cut, empty, a web page, of another network or runs code",
    "Nothing in it is run; the error names the file and says to fetch it again",
)
@pytest.mark.parametrize("kind", [*DAMAGED, "cut"])
@pytest.mark.parametrize("name", ["swav", "inception_v3", "alexnet", "clip_vit_l14", "lpips_alex"])
def test_damaged_weights_are_named(tmp_path, monkeypatch, name, kind):
    file = {"clip_vit_l14": "c/model.safetensors", "lpips_alex": "w.ckpt"}.get(name, "w.pth")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    damage(path, kind)
    monkeypatch.setattr(weights, "locate", lambda *_, **__: path)
    if name == "clip_vit_l14":
        monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], build=tiny_clip))
    with pytest.raises(UserError) as error:
        load(name, "pretrained", folder=tmp_path)
    assert str(path) in str(error.value)
    assert "run the stage `weights` again" in str(error.value)
    assert not (path.parent / "run").exists()


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def damage(path, kind):
    if DAMAGED.get(kind) is not None:
        path.write_bytes(DAMAGED[kind])
        return
    if kind == "a malicious pickle":
        path.write_bytes(pickle.dumps({"a": Code(path.parent / "run")}, protocol=2))
        return
    state = [1, 2] if kind == "a list" else {"other.weight": torch.zeros(100)}
    if path.suffix == ".safetensors" and kind != "a list":
        save_file(state, path)
    elif path.suffix == ".ckpt":
        path.write_bytes(pickle.dumps([1] if kind == "a list" else {"other": np.zeros(100)}))
    else:
        torch.save(state, path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def tiny_clip():
    import transformers

    return transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=32,
            num_attention_heads=2,
            num_hidden_layers=1,
            patch_size=112,
            image_size=224,
            projection_dim=16,
        )
    )


def test_weights_whose_arrays_hold_objects_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.ckpt"
    layer = {"kernel": np.array([None, {}], object), "bias": np.zeros(2)}
    path.write_bytes(pickle.dumps({"AlexNet_0": {f"Conv_{i}": layer for i in range(5)}}))
    monkeypatch.setattr(weights, "locate", lambda *_, **__: path)
    with pytest.raises(UserError, match=r"w.ckpt: expected the weights of alexnet"):
        load("alexnet", "pretrained")


def test_flax_arrays_refuses_code(tmp_path):
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"a": print}))
    with pytest.raises(UserError, match="only NumPy arrays"):
        flax_arrays(path)
