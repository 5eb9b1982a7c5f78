"""Sampling: independent of batches, guided as written, right where the answer is known."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from decoder_data import TOKENS, WIDTH, write_generator
from diffusers import DDPMScheduler
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from boldvision.decoders.dynadiff.model import add_lora
from boldvision.decoders.dynadiff.settings import Lora
from boldvision.device import autocast, hold_frozen
from boldvision.generators.base import Generator, load_generator
from boldvision.generators.decode import decode_latents
from boldvision.generators.pretrain import new_scheduler
from boldvision.generators.sampler import initial_noise, sample, step_streams

SHAPE = (4, 2, 2)
KEYS = [11, 5, -3, 40, 2, 7, 1]


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return load_generator(write_generator(tmp_path_factory.mktemp("generator")))


@pytest.fixture
def tokens():
    torch.manual_seed(1)
    return torch.randn(len(KEYS), TOKENS, WIDTH), torch.randn(TOKENS, WIDTH)


class StubUnet(nn.Module):
    """Records its calls; predicts what `answer` says of latents, step and tokens."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.calls = answer, []

    def forward(self, latents, t, encoder_hidden_states):
        self.calls.append((latents, int(t), encoder_hidden_states))
        return SimpleNamespace(sample=self.answer(latents, t, encoder_hidden_states))


class NoVae(nn.Module):
    """Latents are the pictures."""

    config = SimpleNamespace(scaling_factor=2.0)

    def decode(self, latents):
        return SimpleNamespace(sample=latents)


def stubbed(answer):
    return Generator(None, StubUnet(answer), NoVae(), new_scheduler())


def test_noise_of_a_key_does_not_depend_on_its_companions():
    together = initial_noise(SHAPE, 0, KEYS)
    assert torch.equal(together[3:4], initial_noise(SHAPE, 0, KEYS[3:4]))
    assert torch.equal(together.flip(0), initial_noise(SHAPE, 0, KEYS[::-1]))
    assert not torch.equal(together, initial_noise(SHAPE, 1, KEYS))
    assert len({tuple(noise.flatten().tolist()) for noise in together}) == len(KEYS)
    assert together.std().item() == pytest.approx(1, abs=0.2)


def test_shared_noise_is_a_function_of_the_seed_alone():
    shared = initial_noise(SHAPE, 0, KEYS, "shared")
    assert shared.shape == (len(KEYS), *SHAPE)
    assert (shared == initial_noise(SHAPE, 0, [77], "shared")).all()
    assert not torch.equal(shared, initial_noise(SHAPE, 1, KEYS, "shared"))


def test_the_noise_of_steps_is_a_key_s_own():
    first = [torch.randn(SHAPE, generator=stream) for stream in step_streams(0, KEYS)]
    again = torch.randn(SHAPE, generator=step_streams(0, KEYS[2:3])[0])
    assert torch.equal(first[2], again)
    assert len({tuple(noise.flatten().tolist()) for noise in first}) == len(KEYS)
    assert not (first[0] == initial_noise(SHAPE, 0, KEYS)[0]).any()
    assert not (first[0] == torch.randn(SHAPE, generator=step_streams(1, KEYS)[0])).any()


@pytest.mark.survives(
    "results",
    "Pictures are made in other batches, or in another order, with noise at every step or without",
    "They are the same: the noise is a function of seed, trial and step",
)
@pytest.mark.parametrize("kind", ["per_image", "shared"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_pictures_depend_neither_on_their_batch_nor_on_its_order(generator, tokens, sampler, kind):
    condition, unconditional = tokens

    def pictures(chosen):
        keys = [KEYS[i] for i in chosen]
        noise = initial_noise(SHAPE, 0, keys, kind)
        streams = step_streams(0, keys) if sampler == "ddpm" else None
        latents = sample(generator, condition[chosen], unconditional, noise, 5, 3.0, streams)
        return decode_latents(generator.vae, latents).astype(int)

    order = list(range(len(KEYS)))
    together = pictures(order)
    assert abs(pictures(order[::-1])[::-1] - together).max() <= 1
    for i in order:
        assert abs(pictures([i])[0] - together[i]).max() <= 1
    assert together.std(0).max() > 3, "the pictures are all the same"


def test_ddpm_is_that_of_diffusers_one_picture_at_a_time(tokens):
    """The loop of the released code, but for where its step noise comes from."""
    condition, unconditional = tokens

    def some(latents, t, tokens):
        return 0.3 * latents + tokens.mean((1, 2)).view(-1, 1, 1, 1) + t / 1000

    stub, noise = stubbed(some), initial_noise(SHAPE, 0, KEYS)
    found = sample(stub, condition, unconditional, noise, 20, 3.5, step_streams(0, KEYS))
    assert [t for _, t, _ in stub.unet.calls] == list(range(951, 0, -50))
    scheduler = DDPMScheduler.from_config(new_scheduler().config)
    assert scheduler.config.variance_type == "fixed_small"
    for i, stream in enumerate(step_streams(0, KEYS)):
        scheduler.set_timesteps(20)
        latents = noise[i : i + 1]
        for t in scheduler.timesteps:
            without, given = some(latents, t, unconditional[None]), some(latents, t, condition[[i]])
            epsilon = without + 3.5 * (given - without)
            latents = scheduler.step(epsilon, t, latents, generator=stream).prev_sample
        torch.testing.assert_close(found[i : i + 1] * NoVae.config.scaling_factor, latents)
    again = sample(stub, condition, unconditional, noise, 20, 3.5, step_streams(1, KEYS))
    assert (again - found).abs().mean() > 0.01


def with_adapters(generator):
    """Of its U-Net, adapters that change something."""
    torch.manual_seed(2)
    add_lora(generator.unet, Lora(rank=2))
    for name, parameter in generator.unet.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return generator


@pytest.fixture(params=["plain", "adapted"])
def either(request, tmp_path):
    """A generator as it is published, and one as Dynadiff adapts it."""
    generator = load_generator(write_generator(tmp_path))
    return with_adapters(generator) if request.param == "adapted" else generator


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_keys_and_values_are_computed_once_and_the_same(either, tokens, scale, monkeypatch):
    noise, steps = initial_noise(SHAPE, 0, KEYS), 5

    def counted():
        with FlopCounterMode(display=False) as operations:
            latents = sample(either, *tokens, noise, steps, scale)
        return latents, operations.get_total_flops()

    latents, less = counted()
    assert not any("forward" in vars(layer) for layer in either.unet.modules())
    other = sample(either, tokens[0].flip(0), tokens[1], noise, steps, scale)
    assert not torch.equal(other, latents)
    monkeypatch.setattr("boldvision.generators.sampler.constant_tokens", nullcontext)
    plainly, more = counted()
    assert torch.equal(latents, plainly)
    layers = [m for n, m in either.unet.named_modules() if n.endswith(("attn2.to_k", "attn2.to_v"))]
    weights = sum(p.numel() for layer in layers for p in layer.parameters())
    assert more - less == (steps - 1) * 2 * weights * 2 * len(KEYS) * TOKENS


def test_half_precision_held_is_half_precision_converted(either, tokens):
    """Under autocast, on the frozen networks of either; what is trained and norms stay float32."""
    noise = initial_noise(SHAPE, 0, KEYS)

    def made():
        with autocast("cpu", "bf16"):
            latents = sample(either, *tokens, noise, 3, 3.0)
        return latents, decode_latents(either.vae, latents, "bf16")

    latents, pictures = made()
    trained = [p for p in either.unet.parameters() if p.requires_grad]
    hold_frozen(either.unet, "bf16")
    hold_frozen(either.vae, "bf16")
    assert all(p.dtype == torch.float32 for p in trained)
    assert either.unet.conv_in.weight.dtype == torch.bfloat16
    assert either.unet.conv_norm_out.weight.dtype == torch.float32
    assert either.vae.decoder.conv_in.weight.dtype == torch.bfloat16
    held = made()
    assert torch.equal(held[0], latents)
    assert (held[1] == pictures).all()


def test_guidance_of_one_is_the_conditional_prediction(generator, tokens):
    condition, unconditional = tokens
    noise = initial_noise(SHAPE, 0, KEYS)
    guided = sample(generator, condition, unconditional, noise, 4, 1.0)
    elsewhere = sample(generator, condition, torch.zeros_like(unconditional), noise, 4, 1.0)
    torch.testing.assert_close(guided, elsewhere, atol=1e-4, rtol=1e-4)
    three = sample(generator, condition, unconditional, noise, 4, 3.0)
    assert (three - guided).abs().max() > 0.01


def test_guidance_is_the_unconditional_plus_scale_times_the_difference(tokens):
    condition, unconditional = tokens

    def mean_of_tokens(latents, t, tokens):
        return tokens.mean((1, 2)).view(-1, 1, 1, 1).expand_as(latents)

    noise = initial_noise(SHAPE, 0, KEYS)
    u, c = unconditional.mean(), condition.mean((1, 2), keepdim=True)
    wanted = u + 2.5 * (c - u)
    by_hand = sample(stubbed(mean_of_tokens), wanted.expand_as(condition), wanted[0], noise, 3, 1.0)
    guided = sample(stubbed(mean_of_tokens), condition, unconditional, noise, 3, 2.5)
    torch.testing.assert_close(guided, by_hand)


@pytest.mark.parametrize(("steps", "first"), [(2, 501), (20, 951)])
def test_a_unet_that_knows_the_answer_leads_to_it(steps, first, tokens):
    """The noise at the first step stays the noise, and all of it but timestep 0's is removed."""
    clean = torch.randn(len(KEYS), *SHAPE)
    alphas = new_scheduler().alphas_cumprod

    def exact_noise(latents, t, tokens):
        a = alphas[t]
        return (latents - a.sqrt() * clean.repeat(2, 1, 1, 1)) / (1 - a).sqrt()

    noise = initial_noise(SHAPE, 0, KEYS)
    found = sample(stubbed(exact_noise), *tokens, noise, steps, 3.0) * NoVae.config.scaling_factor
    start = exact_noise(noise.repeat(2, 1, 1, 1), first, None)[: len(KEYS)]
    remains = alphas[0].sqrt() * clean + (1 - alphas[0]).sqrt() * start
    torch.testing.assert_close(found, remains, atol=1e-3, rtol=1e-3)
    assert (found - clean).std() < 0.05


def test_one_call_of_the_unet_per_step_for_both_conditions(tokens):
    condition, unconditional = tokens
    stub = stubbed(lambda latents, t, tokens: torch.zeros_like(latents))
    sample(stub, condition, unconditional, initial_noise(SHAPE, 0, KEYS), 20, 3.0)
    assert len(stub.unet.calls) == 20
    steps = [t for _, t, _ in stub.unet.calls]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == 951
    assert steps[-1] == 1
    latents, _, tokens = stub.unet.calls[0]
    assert latents.shape == (2 * len(KEYS), *SHAPE)
    assert torch.equal(tokens[: len(KEYS)], unconditional.expand_as(condition))
    assert torch.equal(tokens[len(KEYS) :], condition)
