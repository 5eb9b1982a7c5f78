"""The very deep VAE: its published layout, latents that stand for pictures, and the tiny one."""

import os
import resource
import time
from math import prod

import numpy as np
import pytest
import torch
from decoder_data import REPOSITORY
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import softplus
from torchvision.transforms.functional import resize

from boldvision import plugins
from boldvision.datasets.miniature.scenes import SCENE_SEED, render_all
from boldvision.errors import UserError
from boldvision.flop import teraflop
from boldvision.networks.vdvae import keys, pretrain
from boldvision.networks.vdvae.mixture import LEAST_LOG_SCALE, log_likelihood, sample
from boldvision.networks.vdvae.network import Block, Vdvae, load
from boldvision.networks.vdvae.settings import Network
from boldvision.networks.vdvae.sizes import FULL_SIZE, Sizes
from boldvision.seeds import derive
from boldvision.targets.base import Frozen, Stimuli
from boldvision.targets.vdvae import network as target_network
from boldvision.targets.vdvae.settings import Target

SMALL = Sizes(
    image_px=8,
    width=8,
    middle=4,
    zdim=2,
    mixtures=3,
    encoder="8x1,8d2,4x1,4d4,1x1",
    decoder="1x1,4m1,4x1,8m4,8x1",
    latent_blocks=3,
)
LATENTS = 2 * (1 + 16 + 16)
SHIPPED = REPOSITORY / "boldvision" / "networks" / "vdvae" / "tiny"


def small() -> Vdvae:
    """Random weights, large enough that every part changes the picture."""
    torch.manual_seed(0)
    network = Vdvae(SMALL).requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(0, 0.2)
    return network


def pictures(n: int, px: int = SMALL.image_px) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, px, px, 3), np.uint8))


def streams(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def miniature() -> Network:
    named = plugins.named("networks", {}, True).settings["vdvae"]
    return Network(**named | {"folder": str(SHIPPED)})


@pytest.fixture(scope="module")
def full_size():
    with torch.device("meta"):
        return Vdvae(FULL_SIZE)


def documented_keys() -> set[str]:
    """As the notes on Brain-Diffuser list them."""
    convolutions = ["encoder.in_conv", "decoder.out_net.out_conv"]
    convolutions += [f"encoder.enc_blocks.{i}.c{c}" for i in range(65) for c in (1, 2, 3, 4)]
    for block in (f"decoder.dec_blocks.{i}" for i in range(75)):
        parts = [f"{part}.c{c}" for part in ("enc", "prior", "resnet") for c in (1, 2, 3, 4)]
        convolutions += [f"{block}.{part}" for part in [*parts, "z_proj"]]
    maps = {f"decoder.bias_xs.{i}" for i in range(6)} | {"decoder.gain", "decoder.bias"}
    return maps | {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}


def test_full_size_is_the_published_one(full_size):
    count = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in full_size.named_children()
    }
    assert count == {"encoder": 26_450_816, "decoder": 98_555_044}
    assert sum(count.values()) == 125_005_860
    assert (len(full_size.encoder.enc_blocks), len(full_size.decoder.dec_blocks)) == (65, 75)
    numbers = [prod(shape) for shape in FULL_SIZE.latent_shapes()]
    assert numbers == [16] * 2 + [256] * 4 + [1024] * 8 + [4096] * 16 + [16384]
    assert FULL_SIZE.latents() == 91_168
    assert full_size.state_dict().keys() == documented_keys()
    sides = [full_size.decoder.bias_xs[i].shape[-1] for i in range(6)]
    assert sides == [1, 4, 8, 16, 32, 64]


def test_real_and_tiny_settings_state_the_latents():
    real = plugins.named("networks", {}, False).settings["vdvae"]
    assert real["latents"] == FULL_SIZE.latents()
    assert real["files"].keys() == {keys.EMA}
    assert miniature().latents == pretrain.TINY.latents()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"encoder": "8x1,8d2,4x1,2d2,1x1"}, "a block at 2 does not fit 4"),
        ({"encoder": "8x1,8d3,2x1"}, "a block at 8 does not fit 8"),
        ({"decoder": "1x1,4m1,2m4,8m4"}, "a block at 2 does not fit the encoder"),
        ({"decoder": "1x1,4m8,8m4"}, "a block at 4 does not fit the encoder"),
        ({"decoder": "1x1,4m1"}, "it ends at 4"),
        ({"latent_blocks": 6}, "more than there are"),
        ({"decoder": "1x1,4q1"}, "pattern"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        Sizes(**SMALL.model_dump() | change)


def test_a_block_is_four_convolutions_behind_a_gelu():
    block = Block(6, 3, 6, side=4, residual=True)
    assert [c.kernel_size[0] for c in (block.c1, block.c2, block.c3, block.c4)] == [1, 3, 3, 1]
    assert [c.kernel_size[0] for c in Block(6, 3, 6, side=2).children()] == [1, 1, 1, 1]
    x = torch.randn(2, 6, 4, 4)
    y, g = x, torch.nn.GELU()
    for convolution in block.children():
        y = convolution(g(y))
    torch.testing.assert_close(block(x), x + y)
    block.residual = False
    torch.testing.assert_close(block(x), y)


def test_a_decoder_block_adds_what_prior_and_latents_say():
    block = small().decoder.dec_blocks[1]
    x, seen, z = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4), torch.randn(2, 2, 4, 4)
    asked = []

    def draw(*of_prior):
        asked.extend(of_prior)
        return z

    mean, log_std, change = block.prior(x).split([2, 2, 8], 1)
    expected = block.resnet(x + change + block.z_proj(z))
    torch.testing.assert_close(block(7, x, draw), expected)
    assert asked[0] == 7
    torch.testing.assert_close(tuple(asked[1:]), (x, mean, log_std))
    posterior = block.enc(torch.cat([x, seen], 1)).split(2, 1)
    torch.testing.assert_close(block.posterior(x, seen), posterior)


def test_the_encoder_keeps_the_last_map_of_each_side():
    encoder = small().encoder
    x = torch.randn(2, 3, 8, 8)
    first = encoder.enc_blocks[0](encoder.in_conv(x))
    halved = torch.nn.functional.avg_pool2d(encoder.enc_blocks[1](first), 2)
    at_4 = encoder.enc_blocks[2](halved)
    at_1 = encoder.enc_blocks[3](at_4).mean((2, 3), keepdim=True)
    found = encoder(x)
    assert found.keys() == {8, 4, 1}
    for side, expected in ((8, first), (4, at_4), (1, encoder.enc_blocks[4](at_1))):
        torch.testing.assert_close(found[side], expected)


def test_given_latents_generate_what_the_posterior_pass_does():
    network = small()
    sides = [layer.side for layer in SMALL.decoder_layers()]
    noise = [torch.randn(2, SMALL.zdim, side, side) for side in sides]
    expected, drawn = network.posterior(pictures(2), noise)
    assert len(drawn) == 5
    found = network.generate([block.latents for block in drawn], streams(0, 1))
    assert torch.equal(found, expected)
    fewer = network.generate([block.latents for block in drawn[:4]], streams(0, 1))
    assert not torch.equal(fewer, expected)


def test_the_first_blocks_alone_are_encoded():
    network = small()
    noise = torch.randn(2, LATENTS)
    latents = network.encode(pictures(2), noise)
    assert latents.shape == (2, LATENTS)
    assert SMALL.latents() == LATENTS
    _, drawn = network.posterior(pictures(2), network.by_block(noise))
    assert torch.equal(latents[:, 2:34].reshape(2, 2, 4, 4), drawn[1].latents)
    mean = network.encode(pictures(2), torch.zeros(2, LATENTS))
    first = drawn[0].mean + drawn[0].log_std.exp() * noise[:, :2, None, None]
    torch.testing.assert_close(latents[:, :2], first.flatten(1))
    torch.testing.assert_close(mean[:, :2], drawn[0].mean.flatten(1))


def test_the_other_latents_are_drawn_from_the_prior_without_a_temperature():
    network, asked = small(), []
    given = network.by_block(torch.randn(1, LATENTS))

    def draw(index, x, mean, log_std):
        if index < len(given):
            return given[index]
        noise = torch.randn(mean.shape[1:], generator=stream)
        asked.append(index)
        return mean + log_std.exp() * noise

    (stream,) = streams(3)
    expected = network.decoder(1, draw)
    assert asked == [3, 4]
    torch.testing.assert_close(network.generate(given, streams(3)), expected)


def test_a_picture_alone_is_the_one_of_a_batch():
    network = small()
    latents = torch.randn(3, LATENTS)
    together = network.decode(latents, streams(5, 6, 7))
    assert together.dtype == torch.uint8
    assert together.shape == (3, 8, 8, 3)
    alone = network.decode(latents[1:2], streams(6))
    assert (together[1:2].int() - alone.int()).abs().max() <= 1  # sums in another order
    assert not torch.equal(alone, network.decode(latents[1:2], streams(8)))


def test_pixels_are_drawn_component_by_component_and_colour_by_colour():
    """Very narrow components: the draw is known but for the component."""
    means = torch.tensor([[-0.5, 0.0, 0.25], [0.5, 0.1, -0.75]])  # component, colour
    coefficients = torch.tensor([[0.5, 0.25, -0.5], [0.2, 0.1, 0.3]])
    mixture = torch.zeros(1, 20, 40, 40)
    colours = mixture[:, 2:].unflatten(1, (3, 6))
    colours[:, :, :2] = means.T[None, :, :, None, None]
    colours[:, :, 2:4] = -50.0  # held at LEAST_LOG_SCALE
    colours[:, :, 4:] = coefficients.T.atanh()[None, :, :, None, None]
    found = sample(mixture, streams(0))[0].reshape(-1, 3).float() / 127.5 - 1
    first = found[:, 0] < 0
    assert 0.4 < first.float().mean() < 0.6
    for chosen, m, c in zip((first, ~first), means, coefficients, strict=True):
        green = m[1] + c[0] * m[0]
        expected = torch.stack([m[0], green, m[2] + c[1] * m[0] + c[2] * green])
        spread = 12 * np.exp(LEAST_LOG_SCALE) * 2 + 1 / 127.5
        assert (found[chosen] - expected).abs().max() < spread
    likelihood = log_likelihood(mixture, pictures(1, px=40))
    colours[:, :, 2:4] = LEAST_LOG_SCALE
    assert torch.equal(log_likelihood(mixture, pictures(1, px=40)), likelihood)


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_pixels_are_bytes_whatever_the_network_says(scale):
    mixture = scale * torch.randn(2, 30, 16, 16)
    found = sample(mixture, streams(0, 1))
    assert found.dtype == torch.uint8
    assert found.shape == (2, 16, 16, 3)
    assert found.max() > found.min()
    wide = torch.zeros(1, 10, 16, 16)
    wide[:, 1:].unflatten(1, (3, 3))[:, :, 1] = 3.0  # log-scales: far beyond both ends
    assert set(sample(wide, streams(0)).flatten().tolist()) >= {0, 255}


def test_the_likelihood_of_all_colours_sums_to_one():
    """One component and no coefficients: three colours that do not know of each other."""
    mixture = torch.randn(1, 10, 1, 1)
    mixture[:, 1:].unflatten(1, (3, 3))[:, :, 2] = 0
    base = torch.tensor([90, 130, 200], dtype=torch.uint8)
    logarithm = 0.0
    for colour in range(3):
        every = base.repeat(256, 1)
        every[:, colour] = torch.arange(256)
        likelihood = log_likelihood(mixture.expand(256, -1, -1, -1), every[:, None, None])
        logarithm += likelihood.double().logsumexp(0).item()
    of_base = log_likelihood(mixture, base[None, None, None]).double()
    assert logarithm == pytest.approx(2 * of_base.item(), abs=1e-3)


def test_draws_are_as_likely_as_the_likelihood_says():
    mixture = torch.randn(1, 20, 1, 1)
    drawn = sample(mixture.expand(-1, -1, 100, 100), streams(0))[0, :, :, 0].flatten()
    logits, means, log_scales = mixture[0, :2], mixture[0, 2:4], mixture[0, 4:6]
    edge = (128 - 127.5) / 127.5  # bytes below 128 are cut from colours below it
    below = (softplus(-(edge - means) / log_scales.exp())).neg().exp()
    expected = (logits.softmax(0) * below).sum()
    assert (drawn < 128).float().mean() == pytest.approx(expected.item(), abs=0.02)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_published_state_arrives(tmp_path, prefix):
    network = small()
    state = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "ema.th", _use_new_zipfile_serialization=False)
    keys.converted({keys.EMA: tmp_path / "ema.th"}, tmp_path / "out", SMALL)
    settings = Network(
        kind="vdvae",
        folder=str(tmp_path / "out"),
        latents=LATENTS,
        encode_teraflop=1,
        decode_teraflop=1,
    )
    found = load(settings)
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    with pytest.raises(UserError, match=rf"config\.json: expected sizes with 7 .* {LATENTS};"):
        load(settings.model_copy(update={"latents": 7}))


@pytest.mark.survives(
    "networks",
    "The published file of a network is of another layout, or holds more than numbers",
    "Nothing of it is run; the file and the first parameter that differs are named",
)
@pytest.mark.parametrize("change", ["missing", "shape", "code"])
def test_another_state_is_refused(tmp_path, change):
    state = dict(small().state_dict())
    if change == "missing":
        del state["decoder.gain"]
    if change == "shape":
        state["decoder.gain"] = torch.ones(1)
    torch.save([print] if change == "code" else state, tmp_path / "ema.th")
    found = "not loaded" if change == "code" else "as of decoder.gain"
    with pytest.raises(UserError, match=rf"ema\.th: expected the .*{found}; remove the file"):
        keys.converted({keys.EMA: tmp_path / "ema.th"}, tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.survives(
    "files",
    "Weights of a VDVAE lack a parameter, or its latents are of another network",
    "The job stops and says which file, or how many latents were expected",
)
def test_what_does_not_fit_is_refused(tmp_path):
    torch.save(small().state_dict(), tmp_path / "ema.th")
    keys.converted({keys.EMA: tmp_path / "ema.th"}, tmp_path, SMALL)
    settings = Network(
        kind="vdvae", folder=str(tmp_path), latents=66, encode_teraflop=1, decode_teraflop=1
    )
    with pytest.raises(UserError, match="expected 66 latents of a picture, found 65"):
        load(settings).decode(torch.zeros(1, 65), streams(0))
    with pytest.raises(UserError, match="expected finite pictures"):
        load(settings).decode(torch.full((1, 66), torch.nan), streams(0))
    deeper = SMALL.model_copy(update={"decoder": f"{SMALL.decoder},8x1"})
    (tmp_path / "config.json").write_text(deeper.model_dump_json())
    with pytest.raises(UserError, match=r"model\.safetensors: expected the parameters of a VDVAE"):
        load(settings)


def test_an_image_has_latents_of_its_own_whatever_stands_beside_it(monkeypatch):
    network = small()
    monkeypatch.setattr(target_network.vdvae, "load", lambda _: network)
    settings = Network(kind="vdvae", folder="x", latents=66, encode_teraflop=1, decode_teraflop=1)
    target = Target(kind="vdvae", network="vdvae")
    assert target.bytes_per_image({}, {"vdvae": settings}) == 2 * LATENTS
    encode = target_network.load(target, Frozen({}, {"vdvae": settings}, "cpu"))
    large = pictures(3, px=20).numpy()
    found = encode(Stimuli(np.array([7, 3, 9]), large))["latents"]
    assert found.dtype == np.float16
    alone = encode(Stimuli(np.array([3]), large[1:2]))["latents"]
    np.testing.assert_allclose(found[1:2], alone, rtol=2e-3, atol=2e-3)
    other = encode(Stimuli(np.array([4]), large[1:2]))["latents"]
    assert np.abs(other - alone).max() > 0.1

    noise = torch.randn(LATENTS, generator=streams(derive(0, "vdvae", 3))[0])
    resized = torch.from_numpy(target_network.resized(large[1:2], 8))
    expected = network.encode(resized, noise[None])
    np.testing.assert_allclose(alone, expected, rtol=2e-3, atol=2e-3)


def test_images_are_made_small_as_torchvision_makes_them():
    large = pictures(2, px=40).numpy()
    found = target_network.resized(large, 16)
    assert found.dtype == np.uint8
    for image, small_image in zip(large, found, strict=True):
        expected = np.asarray(resize(Image.fromarray(image), [16, 16]))
        np.testing.assert_array_equal(small_image, expected)


def test_training_writes_what_loads_and_lowers_the_bound(tmp_path):
    chosen = torch.from_numpy(render_all(SCENE_SEED - 1, 16, SMALL.image_px))
    torch.manual_seed(1)
    before = pretrain.loss(Vdvae(SMALL), chosen).item()
    pretrain.pretrain(tmp_path, scenes=32, steps=25, batch_size=16, sizes=SMALL)
    settings = Network(
        kind="vdvae", folder=str(tmp_path), latents=66, encode_teraflop=1, decode_teraflop=1
    )
    assert pretrain.loss(load(settings), chosen).item() < before - 0.3


def test_the_bound_counts_what_the_posterior_says_more_than_the_prior():
    network = small()
    noise = [torch.randn(1, 2, layer.side, layer.side) for layer in SMALL.decoder_layers()]
    _, drawn = network.posterior(pictures(1), noise)
    normal = torch.distributions.Normal
    for block in drawn:
        expected = torch.distributions.kl_divergence(
            normal(block.mean, block.log_std.exp()),
            normal(block.prior_mean, block.prior_log_std.exp()),
        )
        torch.testing.assert_close(pretrain.divergence(block), expected)


@pytest.mark.parametrize(("sizes", "simulated"), [(FULL_SIZE, False), (pretrain.TINY, True)])
def test_operations_are_those_counted(sizes, simulated):
    with torch.device("meta"), torch.no_grad():
        network = Vdvae(sizes).requires_grad_(False)
        seen = torch.empty(1, sizes.image_px, sizes.image_px, 3)
        noise = torch.empty(1, sizes.latents())
        encode = teraflop(lambda: network.encode(seen, noise))
        decode = teraflop(
            lambda: network.decoder.mixture(network.decoder(1, lambda _, x, mean, log_std: mean))
        )
    settings = plugins.named("networks", {}, simulated).settings["vdvae"]
    assert settings["encode_teraflop"] == pytest.approx(encode, rel=0.02)
    assert settings["decode_teraflop"] == pytest.approx(decode, rel=0.02)


@pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="takes 1 GB: BOLDVISION_SLOW=1")
def test_a_picture_through_the_whole_network_at_full_size(tmp_path):
    torch.manual_seed(0)
    whole = Vdvae(FULL_SIZE).requires_grad_(False)
    pretrain.initialise(whole)
    torch.save({f"module.{n}": v for n, v in whole.state_dict().items()}, tmp_path / "ema.th")
    keys.converted({keys.EMA: tmp_path / "ema.th"}, tmp_path)
    del whole
    named = plugins.named("networks", {}, False).settings["vdvae"]
    settings = Network(**named | {"folder": str(tmp_path), "files": {}})
    network, start = load(settings), time.perf_counter()
    latents = network.encode(pictures(1, px=64), torch.randn(1, 91_168))
    encoded = time.perf_counter()
    drawn = network.decode(latents, streams(0))
    print(
        f"encode {encoded - start:.1f} s, decode {time.perf_counter() - encoded:.1f} s, peak "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"
    )
    assert latents.shape == (1, 91_168)
    assert drawn.shape == (1, 64, 64, 3)
    assert drawn.float().std() > 1


@pytest.fixture(scope="module")
def shipped():
    """The tiny network, scenes that no training saw, and their posterior."""
    network = load(miniature())
    seen = torch.from_numpy(render_all(SCENE_SEED - 1, 60, network.sizes.image_px))
    torch.manual_seed(0)
    latents = network.encode(seen, torch.randn(len(seen), network.sizes.latents()))
    return network, seen, latents


def test_shipped_weights_are_small(shipped):
    file = SHIPPED / "model.safetensors"
    assert file.stat().st_size < 3e6
    assert {value.dtype for value in load_file(file).values()} == {torch.float16}
    assert shipped[0].sizes == pretrain.TINY


def test_shipped_latents_carry_layout_and_colour(shipped):
    """All that the decoder is given: finer latents are drawn without the picture."""
    network, seen, latents = shipped
    made = network.decode(latents, streams(*range(len(seen))))
    n = len(seen)
    alike = np.corrcoef(seen.reshape(n, -1), made.reshape(n, -1))[:n, n:]
    own = alike.diagonal()
    others = alike[~np.eye(n, dtype=bool)]
    assert own.mean() > 0.8
    assert others.mean() < 0.2
    assert (own[:, None] > alike).sum() / (n * (n - 1)) > 0.98


def test_shipped_latents_are_used(shipped):
    """In every block that stands for a picture, posterior and prior differ."""
    network, seen, _ = shipped
    noise = torch.zeros(len(seen), network.sizes.latents())
    _, drawn = network.posterior(seen, network.by_block(noise))
    assert all(pretrain.divergence(block).mean() > pretrain.FREE / 2 for block in drawn)
