"""DDIM sampling: independent of batches, guided as written, right where the answer is known."""

from types import SimpleNamespace

import pytest
import torch
from decoder_data import TOKENS, WIDTH, write_generator
from torch import nn

from boldvision.generators.base import Generator, load_generator
from boldvision.generators.images import to_uint8
from boldvision.generators.pretrain import new_scheduler
from boldvision.generators.sampler import initial_noise, sample

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


def test_pictures_do_not_depend_on_their_batch(generator, tokens):
    condition, unconditional = tokens
    noise = initial_noise(SHAPE, 0, KEYS)
    together = to_uint8(sample(generator, condition, unconditional, noise, 5, 3.0))
    for i in range(len(KEYS)):
        one = slice(i, i + 1)
        alone = to_uint8(sample(generator, condition[one], unconditional, noise[one], 5, 3.0))
        assert abs(alone[0].astype(int) - together[i]).max() <= 1
    assert together.std(0).max() > 3, "the pictures are all the same"


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
