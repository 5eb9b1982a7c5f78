"""What teaches MindEye1's low level: its size, its published names, and the tiny one that ships."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import layer_norm

from boldvision import plugins
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.datasets.miniature.scenes import CATEGORIES, draw_scene, render
from boldvision.errors import UserError
from boldvision.networks.autoencoder import keys as autoencoder_keys
from boldvision.networks.autoencoder import network as autoencoder
from boldvision.networks.autoencoder.settings import Network as Autoencoder
from boldvision.networks.convnext import keys, network, pretrain
from boldvision.networks.convnext.settings import Network
from boldvision.shipped import ROOT, shipped
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.vae import network as vae_target
from boldvision.targets.vae.settings import Target

SMALL = {"kind": "convnext", "image_px": 16, "depths": (1, 2), "widths": (8, 12), "width": 6}
TINY = plugins.named("networks", {}, simulated=True).settings["convnext"]


@pytest.fixture
def small(tmp_path):
    return Network(folder=str(tmp_path / "convnext"), **SMALL)


@pytest.fixture
def checkpoint(tmp_path, small):
    """What VICRegL's training leaves, of a network this small, and the network."""
    torch.manual_seed(0)
    trained = network.ConvNext(small)
    state = {f"module.{name}": value for name, value in trained.state_dict().items()}
    state |= {"module.projector.0.weight": torch.ones(2), "module.classifier.bias": torch.ones(3)}
    path = tmp_path / "convnext_full.pth"
    torch.save({"epoch": 100, "model": state, "optimizer": {"state": {}, "param_groups": []}}, path)
    return path, trained


def test_it_has_the_published_size():
    real = load_config(
        read_values([str(ROOT / "config" / name) for name in ("config.yaml", "nsd.yaml")])
    ).network("convnext")
    with torch.device("meta"):
        full = network.ConvNext(real)
        assert full.tokens(torch.empty(1, 3, real.image_px, real.image_px)).shape == (1, 256, 512)
    sizes = {
        name: sum(p.numel() for p in part.parameters()) for name, part in full.named_children()
    }
    classified, layer_scale = 2049 * 1000, 3 * 256 + 3 * 512 + 27 * 1024 + 3 * 2048
    published = 350_196_968  # ConvNeXt-XL on ImageNet-1k (Liu et al. 2022), with both
    assert sizes == {
        "backbone": published - classified - layer_scale,
        "maps_projector": 1_575_936,
    }
    assert real.side == 16


def test_a_published_checkpoint_is_taken_over_by_its_names(small, checkpoint, tmp_path):
    path, trained = checkpoint
    keys.converted({"checkpoint": path}, tmp_path / "convnext")
    stored = load_file(tmp_path / "convnext" / network.WEIGHTS)
    assert {name.partition(".")[0] for name in stored} == {"backbone", "maps_projector"}
    images = torch.rand(2, 3, 16, 16)
    loaded = network.load(small)
    assert torch.equal(loaded.tokens(images), trained.tokens(images))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("content", [{"model": {"module.other": torch.ones(1)}}, {"state": {}}, 3])
def test_another_file_is_refused(tmp_path, content):
    torch.save(content, path := tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"expected a checkpoint of VICRegL.*fetch it again"):
        keys.converted({"checkpoint": path}, tmp_path)
    assert not (tmp_path / network.WEIGHTS).exists()


@pytest.mark.survives(
    "files",
    "A checkpoint of a frozen network holds more than tensors",
    "Nothing of it is run, and it is not loaded: the job names the file",
)
def test_a_pickle_of_more_than_tensors_is_not_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    torch.save({"model": Evil()}, path := tmp_path / "evil.pth")
    for converted in (keys.converted, autoencoder_keys.converted):
        with pytest.raises(UserError, match="not tensors alone"):
            converted({"checkpoint": path, "weights": path}, tmp_path)
    assert not (tmp_path / "run").exists()


def test_weights_of_other_sizes_are_refused(small, checkpoint, tmp_path):
    keys.converted({"checkpoint": checkpoint[0]}, tmp_path / "convnext")
    other = small.model_copy(update={"widths": (8, 16)})
    with pytest.raises(UserError, match="ConvNeXt of these `depths` and `widths`"):
        network.load(other)


@pytest.mark.parametrize("wrong", [{"image_px": 20}, {"depths": (1,)}])
def test_sizes_must_fit_each_other(wrong):
    with pytest.raises(ValueError, match=r"image_px|depths"):
        Network(folder="x", **SMALL | wrong)


def test_a_block_is_the_published_one():
    """Written out: 7 x 7 by channel, norm over channels with 1e-6, four times as wide within."""
    torch.manual_seed(0)
    block, x = network.Block(4), 1e-3 * torch.randn(1, 4, 9, 9)
    y = block.dwconv(x)[0, :, 5, 3]
    y = layer_norm(y, (4,), block.norm.weight, block.norm.bias, 1e-6)
    inner = block.pwconv1.weight @ y + block.pwconv1.bias
    gelu = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    expected = x[0, :, 5, 3] + block.pwconv2.weight @ gelu + block.pwconv2.bias
    torch.testing.assert_close(block(x)[0, :, 5, 3], expected)
    patch = (block.dwconv.weight[:, 0] * x[0, :, 2:9, 0:7]).sum((1, 2)) + block.dwconv.bias
    torch.testing.assert_close(block.dwconv(x)[0, :, 5, 3], patch)


def test_tokens_are_places_in_rows(small):
    torch.manual_seed(0)
    net, images = network.ConvNext(small), torch.rand(1, 3, 16, 16)
    maps = (images - torch.tensor(network.MEAN)[:, None, None]) / torch.tensor(
        (0.228, 0.224, 0.225)
    )[:, None, None]
    for halve, stage in zip(net.backbone.downsample_layers, net.backbone.stages, strict=True):
        maps = stage(halve(maps))
    places = [maps[:, :, row, column] for row in (0, 1) for column in (0, 1)]
    expected = torch.stack([net.maps_projector(net.backbone.norm(p)) for p in places], 1)
    torch.testing.assert_close(net.tokens(images), expected)


def test_pretraining_asks_each_token_for_its_own_place():
    pictures = torch.rand(1, 3, 32, 32)
    cells = pretrain.places(pictures, 4)
    assert cells.shape == (1, 4, 48)
    lower_left = pictures[0, :, 16:, :16].unflatten(1, (4, 4)).unflatten(3, (4, 4)).mean((2, 4))
    torch.testing.assert_close(cells[0, 2].view(3, 4, 4), lower_left)


def test_pretraining_writes_what_is_read(tmp_path):
    pretrain.pretrain(tmp_path, scenes=8, steps=2, batch_size=4)
    settings = Network.model_validate(TINY | {"folder": str(tmp_path)})
    assert network.load(settings).tokens(torch.rand(1, 3, 32, 32)).isfinite().all()
    assert load_file(tmp_path / network.WEIGHTS)["backbone.norm.weight"].dtype == torch.float16


def seen(seed, count):
    """Pictures and categories of scenes that it has not learned from."""
    scenes = [draw_scene(seed, number) for number in range(count)]
    pictures = torch.from_numpy(np.stack([render(scene, 32) for scene in scenes]))
    categories = torch.tensor([scene.category for scene in scenes])
    return pictures.permute(0, 3, 1, 2).float() / 255, categories


def test_the_tiny_one_tells_objects_apart_and_where_colours_are():
    tiny = network.load(Network.model_validate(TINY | {"folder": shipped(TINY["folder"])}))
    (known, categories), (new, expected) = seen(5, 1000), seen(6, 300)
    with torch.no_grad():
        tokens, new_tokens = tiny.tokens(known), tiny.tokens(new)
    one_hot = torch.eye(len(CATEGORIES))[categories]
    said = _ridge(tokens.flatten(1), one_hot, new_tokens.flatten(1)).argmax(1)
    assert (said == expected).float().mean() > 0.85  # chance: 0.125
    colours, new_colours = (pretrain.places(x, 4).flatten(0, 1) for x in (known, new))
    found = _ridge(tokens.flatten(0, 1), colours, new_tokens.flatten(0, 1))
    assert (found - new_colours).square().mean() < 0.1 * new_colours.var(0).mean()


def _ridge(x, y, new):
    x, new = (torch.cat([v, torch.ones(len(v), 1)], 1) for v in (x, new))
    return new @ torch.linalg.solve(x.T @ x + 0.1 * torch.eye(x.shape[1]), x.T @ y)


# The autoencoder, whose latents the low level predicts


@pytest.fixture
def old_autoencoder(tmp_path):
    """A small one, as diffusers before 0.15 saved it, and the network."""
    torch.manual_seed(0)
    settings = Autoencoder(
        kind="autoencoder", folder=str(tmp_path / "vae"), image_px=16, widths=(32,) * 4
    )
    net = autoencoder.meta_autoencoder(settings).to_empty(device="cpu")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    old = {}
    for name, value in net.state_dict().items():
        for before, now in autoencoder_keys.OLD.items():
            name = name.replace(f"attentions.0.{now}", f"attentions.0.{before}")
        old[name] = value
    torch.save(old, tmp_path / "vae.bin")
    return settings, net, tmp_path / "vae.bin"


def test_an_old_autoencoder_is_taken_over(old_autoencoder, tmp_path):
    settings, net, path = old_autoencoder
    assert any("attentions.0.proj_attn." in name for name in torch.load(path, weights_only=True))
    autoencoder_keys.converted({"weights": path}, tmp_path / "vae")
    loaded, pictures = autoencoder.load(settings), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        expected = net.eval().encode(pictures).latent_dist.mean
        assert torch.equal(loaded.encode(pictures).latent_dist.mean, expected)
    assert autoencoder_keys.renamed("encoder.key.weight") == "encoder.key.weight"


def test_the_target_takes_latents_of_an_autoencoder_of_its_own(old_autoencoder, tmp_path):
    settings, net, path = old_autoencoder
    autoencoder_keys.converted({"weights": path}, tmp_path / "vae")
    target = Target(kind="vae", network="own")
    assert (target.generator_names(), target.network_names()) == ((), ("own",))
    assert target.bytes_per_image({}, {"own": settings}) == 2 * 4 * 2 * 2 * 2
    full = Autoencoder(kind="autoencoder", folder="x")
    assert target.teraflop_per_image({}, {"own": full}) == pytest.approx(1.117, abs=1e-3)
    encode = vae_target.load(target, Frozen({}, {"own": settings}, "cpu"))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    made = encode(Stimuli(np.arange(2), pictures))
    assert made["mean"].shape == (2, 4, 2, 2)
    with torch.no_grad():
        shown = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        expected = net.eval().encode(shown).latent_dist.mean
    np.testing.assert_allclose(made["mean"], expected, atol=2e-3)
    wrong = Frozen({}, {"own": Network(folder="x", **SMALL)}, "cpu")
    with pytest.raises(UserError, match=r"networks\.own: expected a network of kind autoencoder"):
        vae_target.load(target, wrong)


@pytest.mark.parametrize("named", [{}, {"generator": "tiny", "network": "own"}])
def test_a_target_names_one_autoencoder(named):
    with pytest.raises(ValueError, match="one of them"):
        Target(kind="vae", **named)
