"""From picture to picture: how many steps, from which noise, and where the answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from dual_data import noisy_latents, tokens_of_both, write_dual_generator
from torch import nn

from boldvision.errors import UserError
from boldvision.generators import image_to_image
from boldvision.generators.decode import decode_latents
from boldvision.generators.dual import load_dual_generator
from boldvision.generators.image_to_image import ddim, encode, unipc
from boldvision.generators.pretrain import new_scheduler
from boldvision.generators.sampler import initial_noise

SHAPE, SCALE = (4, 2, 2), 2.0
KEYS = [11, 5, -3, 40, 2]
ALPHAS = new_scheduler().alphas_cumprod
BRAIN_DIFFUSER = {"steps": 50, "strength": 0.75, "guidance_scale": 7.5}
MINDEYE = {"steps": 20, "strength": 0.85, "guidance_scale": 3.5}


class Calls:
    """A predictor that records what it is asked; it says what `answer` says of latents and step."""

    def __init__(self, answer=lambda latents, t: torch.zeros_like(latents)):
        self.answer, self.latents, self.timesteps = answer, [], []

    def __call__(self, latents, t):
        self.latents.append(latents)
        self.timesteps.append(int(t))
        return self.answer(latents, int(t))


@pytest.fixture
def stub():
    vae = SimpleNamespace(config=SimpleNamespace(scaling_factor=SCALE))
    return SimpleNamespace(unet=nn.Identity(), vae=vae, scheduler=new_scheduler())


@pytest.fixture
def pictures():
    return noisy_latents(len(KEYS)), initial_noise(SHAPE, 0, KEYS)


def noised(start, noise, t):
    return ALPHAS[t].sqrt() * SCALE * start + (1 - ALPHAS[t]).sqrt() * noise


def test_brain_diffuser_takes_37_steps_from_noise_of_the_step_before(stub, pictures):
    calls = Calls()
    ddim(stub, calls, *pictures, **BRAIN_DIFFUSER)
    assert calls.timesteps == list(range(721, 0, -20))
    assert len(calls.timesteps) == 37
    assert {len(latents) for latents in calls.latents} == {2 * len(KEYS)}
    twice = noised(*pictures, t=741).repeat(2, 1, 1, 1)
    torch.testing.assert_close(calls.latents[0], twice)


def test_mindeye_takes_17_of_20_steps_from_noise_of_the_first(stub, pictures):
    calls = Calls()
    unipc(stub, calls, *pictures, **MINDEYE)
    assert calls.timesteps[:3] == [849, 799, 749]
    assert calls.timesteps[-2:] == [100, 50]
    assert len(calls.timesteps) == 17
    torch.testing.assert_close(calls.latents[0], noised(*pictures, t=849).repeat(2, 1, 1, 1))


def test_mindeye_takes_all_steps_from_noise_alone(stub, pictures):
    calls = Calls()
    unipc(stub, calls, None, pictures[1], **MINDEYE)
    assert calls.timesteps[:4] == [999, 949, 899, 849]
    assert calls.timesteps[-2:] == [100, 50]
    assert len(calls.timesteps) == 20
    assert torch.equal(calls.latents[0], pictures[1].repeat(2, 1, 1, 1))


def towards(picture):
    """The noise that there is in latents if `picture` is what it was added to."""
    return lambda latents, t: (
        (latents - ALPHAS[t].sqrt() * SCALE * picture.repeat(2, 1, 1, 1)) / (1 - ALPHAS[t]).sqrt()
    )


@pytest.mark.parametrize("sampler", [ddim, unipc])
def test_a_true_prediction_leads_to_the_picture(stub, pictures, sampler):
    """But for the noise of timestep 0, where both end: 0.03 standard deviations."""
    target = torch.randn(len(KEYS), *SHAPE)
    settings = BRAIN_DIFFUSER if sampler is ddim else MINDEYE
    found = sampler(stub, Calls(towards(target)), *pictures, **settings)
    left = (found * SCALE - ALPHAS[0].sqrt() * target * SCALE).std().item()
    assert left < 0.06
    if sampler is unipc:
        assert left == pytest.approx((1 - ALPHAS[0]).sqrt().item(), rel=0.4)


@pytest.mark.parametrize("sampler", [ddim, unipc])
@pytest.mark.parametrize("scale", [7.5, 1.0, 0.0])
def test_guidance_is_u_plus_scale_times_c_minus_u(stub, pictures, sampler, scale):
    def answer(latents, t):
        without, given = latents.chunk(2)
        return torch.cat([0.1 * without, 0.3 * given])

    settings = {"steps": 10, "strength": 0.5, "guidance_scale": scale}
    found = sampler(stub, answer, *pictures, **settings)
    by_hand = sampler(stub, lambda x, t: (0.1 + scale * 0.2) * x, *pictures, **settings)
    torch.testing.assert_close(found, by_hand, atol=1e-4, rtol=1e-4)


def test_unipc_is_that_of_the_released_code(stub, pictures):
    """Order 2, bh2, down to timestep 0; as diffusers' own loop takes all its steps."""
    scheduler = UniPCMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=2,
        solver_type="bh2", final_sigmas_type="sigma_min",
    )  # fmt: skip
    scheduler.set_timesteps(20)
    latents = pictures[1]
    for t in scheduler.timesteps:
        latents = scheduler.step(latents.sin(), t, latents).prev_sample
    found = unipc(stub, lambda x, t: x.sin(), None, pictures[1], **MINDEYE)
    torch.testing.assert_close(found * SCALE, latents)


@pytest.mark.parametrize(
    ("sampler", "strength", "says"),
    [(ddim, 0.01, "is 0; expected"), (ddim, 1.0, "is 50; expected"), (unipc, 0.01, "is none")],
)
def test_strengths_that_leave_no_step_are_refused(stub, pictures, sampler, strength, says):
    with pytest.raises(UserError, match=says):
        sampler(stub, Calls(), *pictures, 50, strength, 7.5)


@pytest.mark.parametrize("sampler", [ddim, unipc])
def test_latents_that_are_not_finite_are_refused(stub, pictures, sampler):
    with pytest.raises(UserError, match="expected finite latents after 5 steps"):
        sampler(stub, lambda x, t: x * float("nan"), *pictures, 10, 0.5, 7.5)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return load_dual_generator(write_dual_generator(tmp_path_factory.mktemp("dual")))


def decoded(generator, sampler, rows):
    """Pictures of some of the keys, from start to end as a decoder makes them."""
    keys = [KEYS[row] for row in rows]
    torch.manual_seed(3)
    seen = (torch.rand(len(KEYS), 3, 16, 16) * 2 - 1)[rows]
    image, text = (tokens[rows] for tokens in tokens_of_both(len(KEYS)))
    both = [torch.cat([torch.zeros_like(tokens), tokens]) for tokens in (image, text)]

    def predict(latents, t):
        return generator.unet(latents, t, *both, 0.4)

    start = encode(generator.vae, seen, seed=0, keys=keys)
    noise = initial_noise(SHAPE, 0, keys)
    found = sampler(generator, predict, start, noise, 10, 0.75, 2.0)
    return found, decode_latents(generator.vae, found)


@pytest.mark.parametrize("sampler", [ddim, unipc])
def test_a_picture_alone_is_that_in_a_batch(generator, sampler):
    latents, pictures = decoded(generator, sampler, [0, 1, 2, 3, 4])
    for rows in ([3], [4, 2]):
        alone, picture = decoded(generator, sampler, rows)
        torch.testing.assert_close(alone, latents[rows], atol=1e-4, rtol=1e-4)
        assert np.abs(picture.astype(int) - pictures[rows]).max() <= 1
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 1


def test_unipc_keeps_its_own_arithmetic_in_float32_under_autocast(stub, pictures):
    expected = unipc(stub, lambda x, t: x.sin(), *pictures, **MINDEYE)
    with torch.autocast("cpu", torch.bfloat16):
        found = unipc(stub, lambda x, t: x.sin(), *pictures, **MINDEYE)
    assert torch.equal(found, expected)


def test_few_large_pictures_are_encoded_together(generator, monkeypatch):
    seen, sizes, forward = torch.rand(5, 3, 16, 16), [], generator.vae.encode
    expected = encode(generator.vae, seen, 0, KEYS)
    monkeypatch.setattr(image_to_image, "PIXELS", 2 * 16 * 16)
    monkeypatch.setattr(generator.vae, "encode", lambda x: sizes.append(len(x)) or forward(x))
    torch.testing.assert_close(encode(generator.vae, seen, 0, KEYS), expected)
    assert sizes == [2, 2, 1]


def test_latents_are_drawn_from_the_posterior_by_key(generator):
    torch.manual_seed(4)
    seen = torch.rand(1, 3, 16, 16).expand(300, -1, -1, -1) * 2 - 1
    drawn = encode(generator.vae, seen, 0, range(300))
    posterior = generator.vae.encode(seen[:1]).latent_dist
    standard = (drawn - posterior.mean) / posterior.std
    assert standard.mean().item() == pytest.approx(0, abs=0.05)
    assert standard.std().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(encode(generator.vae, seen[:2], 0, [7, 250]), drawn[[7, 250]])
    assert not torch.equal(encode(generator.vae, seen[:1], 1, [7]), drawn[7:8])
