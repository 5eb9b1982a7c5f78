"""MindEye1's prior: its network, its diffusion, and what dalle2-pytorch computes."""

import math
import os
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from boldvision.decoders.mindeye1.prior import (
    Diffusion,
    LayerNorm,
    PriorNetwork,
    cosine_schedule,
    distance_buckets,
    rotate,
    sinusoids,
)
from boldvision.decoders.mindeye1.settings import Prior

TOKENS, WIDTH = 5, 16
SMALL = Prior(depth=2, heads=3, head_width=8, steps=10)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PriorNetwork(TOKENS, WIDTH, SMALL).eval()


@pytest.fixture(scope="module")
def inputs():
    random = torch.Generator().manual_seed(1)
    noisy, brain = torch.randn(2, 3, TOKENS, WIDTH, generator=random)
    return noisy, torch.tensor([0, 3, 9]), brain, torch.zeros(3, 2, dtype=torch.bool)


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_it_has_the_published_parameters():
    with torch.device("meta"):
        parameters = list(PriorNetwork(257, 768, Prior()).parameters())
    assert sum(p.numel() for p in parameters) == 56_055_184
    assert sum(p.numel() for p in parameters if not p.requires_grad) == 16


def test_the_layer_norm_adds_more_to_the_variance_in_half_precision():
    norm, values = LayerNorm(4), torch.tensor([[1e-3, -1e-3, 2e-3, -2e-3]])
    plain = values / (values.var(correction=0) + 1e-5).sqrt()
    assert torch.allclose(norm(values), plain, atol=1e-6)
    half = values.half()
    expected = half.float() / (half.float().var(correction=0) + 1e-3).sqrt()
    assert torch.allclose(norm(half).float(), expected, atol=1e-3)
    assert (norm(half).float() - plain).abs().max() > 0.1


def test_the_last_norm_divides_by_the_largest_value_even_if_it_is_negative():
    norm = LayerNorm(3, stable=True)
    values = torch.tensor([[-3.0, -1.0, -2.0]])
    scaled = values / -1.0
    expected = (scaled - scaled.mean()) / (scaled.var(correction=0) + 1e-5).sqrt()
    assert torch.allclose(norm(values), expected)


def test_distances_are_told_apart_up_to_16_then_by_their_logarithm():
    buckets = distance_buckets(515)
    assert buckets.shape == (515, 516)
    assert buckets[514, 514 - np.arange(16)].tolist() == list(range(16))
    assert buckets[514, 514 - 16] == 16
    assert buckets[514, 514 - 30] == 16 + int(math.log(30 / 16) / math.log(8) * 16)
    assert buckets[514, 0] == 31
    assert buckets[3, 4:].eq(0).all()  # what comes later, and is looked at too


def test_positions_rotate_the_first_channels_in_pairs():
    x = torch.tensor([[[1.0, 0.0, 5.0]]])
    angles = torch.tensor([[math.pi / 2, math.pi / 2]])
    assert torch.allclose(rotate(x, angles), torch.tensor([[[0.0, 1.0, 5.0]]]), atol=1e-6)


def test_steps_are_384_sines_and_384_cosines():
    found = sinusoids(torch.tensor([99]), 768)[0]
    rate = math.exp(-math.log(10_000) * 7 / 383)
    assert found[7] == pytest.approx(math.sin(99 * rate), abs=1e-5)
    assert found[384 + 7] == pytest.approx(math.cos(99 * rate), abs=1e-5)


def test_the_schedule_is_the_published_cosine():
    schedule = cosine_schedule(100)
    curve = [math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(100)]
    assert schedule["kept"][:99].numpy() == pytest.approx(np.array(curve[1:]) / curve[0])
    assert 1 - schedule["kept"][99] / schedule["kept"][98] == pytest.approx(0.999)
    assert (schedule["of_clean"][0], schedule["of_noisy"][0]) == (1, 0)


def test_dropped_conditions_are_the_learned_ones(network, inputs):
    noisy, time, brain, _ = inputs
    without = torch.tensor([[True, False], [False, True], [True, True]])
    found = network(noisy, time, brain, without)
    brain, noisy = brain.clone(), noisy.clone()
    brain[[0, 2]], noisy[[1, 2]] = network.null_brain, network.null_image
    assert torch.equal(found, network(noisy, time, brain, torch.zeros_like(without)))


def test_it_looks_at_tokens_that_come_later(network, inputs):
    noisy, time, brain, whole = inputs
    changed = noisy.clone()
    changed[:, -1].neg_()
    found, other = (network(each, time, brain, whole) for each in (noisy, changed))
    assert (found[:, 0] - other[:, 0]).abs().max() > 1e-4


def test_recomputed_activations_change_nothing(network, inputs):
    from torch.utils.checkpoint import checkpoint

    gradients = []
    for through in (network.through, lambda *of: checkpoint(*of, use_reentrant=False)):
        network.zero_grad()
        network.through, before = through, network.through
        network(*inputs).square().sum().backward()
        network.through = before
        gradients.append(network.layers[0].attention.to_q.weight.grad.clone())
    assert torch.equal(*gradients)


def test_noise_is_added_to_tokens_of_unit_variance():
    diffusion = Diffusion(100, 768)
    assert diffusion.scale == pytest.approx(27.7128, abs=1e-4)
    clean, noise = torch.ones(2, TOKENS, WIDTH), torch.full((2, TOKENS, WIDTH), 2.0)
    found = diffusion.add_noise(clean, noise, torch.tensor([0, 60]))
    kept = cosine_schedule(100)["kept"][[0, 60]].float()
    expected = kept.sqrt() + 2 * (1 - kept).sqrt()
    assert torch.allclose(found, expected[:, None, None].expand_as(found))


def test_sampling_with_a_network_that_knows_gives_what_it_knows():
    truth = torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(3))
    diffusion = Diffusion(100, WIDTH)
    found = diffusion.sample(lambda *_: truth * diffusion.scale, truth, streams(0, 1))
    assert torch.allclose(found, truth, atol=1e-6)


def test_the_spread_of_samples_is_that_of_the_chain():
    """A network that knows nothing, says 0: what is left is the noise of the last step but one."""
    diffusion, steps = Diffusion(6, WIDTH), cosine_schedule(6)
    variance = 1.0
    for t in range(5, 0, -1):
        variance = steps["of_noisy"][t].item() ** 2 * variance + steps["deviation"][t].item() ** 2
    seen = []

    def network(x, time, brain, dropped):
        seen.append(x)
        return torch.zeros_like(x)

    diffusion.sample(network, torch.zeros(64, TOKENS, WIDTH), streams(*range(64)))
    assert seen[-1].var().item() == pytest.approx(variance, rel=0.05)


def test_a_sample_is_of_its_stream_whatever_is_drawn_beside_it(network):
    diffusion = Diffusion(SMALL.steps, WIDTH)
    brain = torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(3))
    both = diffusion.sample(network, brain, streams(5, 6))
    alone = diffusion.sample(network, brain[1:], streams(6))
    assert torch.allclose(both[1:], alone, atol=1e-5)
    assert (diffusion.sample(network, brain[1:], streams(7)) - alone).abs().max() > 1e-3


@pytest.mark.skipif(not os.environ.get("BOLDVISION_SLOW"), reason="a network of true size")
def test_a_call_at_true_size():
    torch.manual_seed(0)
    network = PriorNetwork(257, 768, Prior()).eval()
    with torch.no_grad():
        found = network(
            torch.randn(1, 257, 768), torch.tensor([50]), torch.randn(1, 257, 768),
            torch.zeros(1, 2, dtype=torch.bool),
        )  # fmt: skip
    assert found.shape == (1, 257, 768)
    assert torch.isfinite(found).all()


# Compared with dalle2-pytorch, where it is


UNUSED = (
    "kornia", "kornia.filters", "kornia.augmentation", "resize_right", "x_clip", "coca_pytorch",
    "dalle2_pytorch.tokenizer", "dalle2_pytorch.vqgan_vae", "dalle2_pytorch.trainer",
)  # fmt: skip
"""What the package imports, and its prior does not use."""


class Anything(ModuleType):
    """A module in which every name stands for nothing."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture(scope="module")
def reference():
    """dalle2-pytorch, but for what its prior does not use."""
    pytest.importorskip("rotary_embedding_torch")
    pytest.importorskip("einops_exts")
    with pytest.MonkeyPatch.context() as patch:
        for name in UNUSED:
            patch.setitem(sys.modules, name, Anything(name))
        yield pytest.importorskip("dalle2_pytorch.dalle2_pytorch")


@pytest.fixture(scope="module", params=["small", "true size"])
def pair(request, reference):
    """Our network and the package's transformer, of the same weights."""
    sizes, settings = {"small": ((TOKENS, WIDTH), SMALL), "true size": ((257, 768), Prior())}[
        request.param
    ]
    torch.manual_seed(0)
    ours = PriorNetwork(*sizes, settings).eval()
    theirs = reference.CausalTransformer(
        dim=sizes[1], depth=settings.depth, heads=settings.heads, dim_head=settings.head_width
    ).eval()
    for attention, _ in theirs.layers:
        attention.causal = False  # as MindEye1's does not look at the order
    time = torch.nn.Sequential(
        reference.SinusoidalPosEmb(sizes[1]), reference.MLP(sizes[1], sizes[1])
    ).eval()
    load(theirs, {n: v for n, v in ours.named_parameters() if "time_mlp" not in n})
    load(time, {n: v for n, v in ours.named_parameters() if "time_mlp" in n})
    return ours, theirs, time, settings


def load(theirs, ours):
    """Give parameters to a module that has them in the same order, under other names."""
    own = ("learned_query", "null_brain", "null_image", "frequencies", "distance_bias.weight")
    values = {name: value for name, value in ours.items() if name not in own}
    their_values = dict(theirs.named_parameters())
    if "distance_bias.weight" in ours:
        their_values.pop("rel_pos_bias.relative_attention_bias.weight").data = ours[
            "distance_bias.weight"
        ].data
        fixed = [name for name in their_values if name.endswith("freqs")]
        for name in fixed:
            assert torch.allclose(their_values.pop(name), ours["frequencies"])
    order = sorted(their_values, key=_order), sorted(values, key=_order)
    assert len(order[0]) == len(order[1])
    for name, own_name in zip(*order, strict=True):
        assert their_values[name].shape == values[own_name].shape, (name, own_name)
        their_values[name].data = values[own_name].data


RENAMED = {
    "attention.norm.gain": "0.norm.g", "attention.null_kv": "0.null_kv",
    "attention.to_q.weight": "0.to_q.weight", "attention.to_kv.weight": "0.to_kv.weight",
    "attention.to_out.0.weight": "0.to_out.0.weight", "attention.to_out.1.gain": "0.to_out.1.g",
    "feed_forward.norm.gain": "1.0.g", "feed_forward.rise.weight": "1.1.weight",
    "feed_forward.fall.weight": "1.5.weight", "norm.gain": "norm.g",
    "time_mlp.0.": "1.net.0.0.", "time_mlp.2.": "1.net.1.0.", "time_mlp.4.": "1.net.2.",
}  # fmt: skip


def _order(name):
    """The package's name of a parameter."""
    for ours, theirs in RENAMED.items():
        if ours in name:
            return name.replace(ours, theirs)
    return name


def reference_call(pair, noisy, moment, brain):
    """What MindEye1 makes of the package's transformer: all tokens of an image, the last ones."""
    ours, theirs, time, _ = pair
    embedded = time(moment.to(noisy.dtype))[:, None]
    sequence = torch.cat([brain, embedded, noisy + ours.learned_query], dim=1)
    return theirs(sequence)[:, -ours.tokens :]


@torch.no_grad()
def test_it_computes_what_dalle2_pytorch_does(pair, record_property):
    ours = pair[0]
    random = torch.Generator().manual_seed(2)
    noisy, brain = torch.randn(2, 2, ours.tokens, ours.width, generator=random)
    moment = torch.tensor([0, 7])
    found = ours(noisy, moment, brain, torch.zeros(2, 2, dtype=torch.bool))
    expected = reference_call(pair, noisy, moment, brain)
    difference = (found - expected).abs().max().item()
    print(f"forward: {difference:.2e} of {expected.abs().max():.2f}")
    assert difference < 1e-4 * expected.abs().max()


@torch.no_grad()
def test_a_chain_of_samples_is_dalle2_pytorch_s(pair, reference):
    ours, *_, settings = pair
    if ours.width == 768 and not os.environ.get("BOLDVISION_SLOW"):
        pytest.skip("100 calls of a network of true size")
    scheduler = reference.NoiseScheduler(
        beta_schedule="cosine", timesteps=settings.steps, loss_type="l2"
    )
    brain = torch.randn(1, ours.tokens, ours.width, generator=torch.Generator().manual_seed(4))
    (stream,) = streams(8)
    x = torch.randn(brain.shape[1:], generator=stream)[None]
    for t in reversed(range(settings.steps)):
        moment = torch.tensor([t])
        start = reference_call(pair, x, moment, brain)
        mean, _, log_variance = scheduler.q_posterior(start, x, moment)
        x = mean
        if t:
            noise = torch.randn(brain.shape[1:], generator=stream)[None]
            x = mean + (0.5 * log_variance).exp() * noise
    expected = x / math.sqrt(ours.width)
    found = Diffusion(settings.steps, ours.width).sample(ours, brain, streams(8))
    difference = (found - expected).abs().max().item()
    print(f"chain: {difference:.2e} of {expected.abs().max():.2f}")
    assert difference < 1e-3 * expected.abs().max()
