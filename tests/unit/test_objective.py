"""What a training step draws and what it compares."""

import numpy as np
import pytest
import torch
from decoder_data import WINDOW, run_settings, training_settings, write_generator, write_subject
from torch import nn

from boldvision import config
from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.decoders.dynadiff.settings import Run, Training
from boldvision.generators.base import load_generator
from boldvision.generators.timesteps import draw_timesteps
from boldvision.targets.base import TargetFile
from boldvision.trials.windows import load_windows


@pytest.fixture(scope="module")
def generator(folder):
    return load_generator(write_generator(folder / "generator"))


@pytest.fixture(scope="module")
def data(folder):
    return [
        write_subject(folder, "subj01", n_images=8, n_voxels=5),
        write_subject(folder, "subj02", n_images=6, n_voxels=4, first_image=101),
    ]


class Spy(nn.Module):
    """Keeps its inputs, predicts zero noise."""

    def forward(self, groups, noisy, timesteps, dropped):
        self.groups, self.noisy, self.timesteps, self.dropped = groups, noisy, timesteps, dropped
        return torch.zeros_like(noisy)


def objective(generator, data, seed=0, **settings):
    window = config.Window(**WINDOW)
    windows = {
        s.name: load_windows(s.bold, s.trials, s.split, window, s.preprocessing, "train")
        for s in data
    }
    latents = {s.name: TargetFile(s.targets["vae"]) for s in data}
    training = Training(**training_settings(**settings))
    return DiffusionObjective(windows, latents, generator, training, seed)


def loss_of(objective, model, step, rows):
    return objective.loss(model, objective.batch(step, rows)).item()


def test_cubic_timesteps_are_distributed_as_the_paper_says():
    u = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    t = draw_timesteps(u, "cubic", 1000)
    assert t.dtype == torch.int64
    assert (t.min().item(), t.max().item()) == (0, 999)
    for share in (0.1, 0.5, 0.9):  # P(t >= s n) = P(u^3 <= 1 - s) = (1 - s)^(1/3)
        assert (t >= 1000 * share).float().mean().item() == pytest.approx(
            (1 - share) ** (1 / 3), abs=0.005
        )
    uniform = draw_timesteps(u, "uniform", 1000)
    assert (uniform >= 900).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert draw_timesteps(torch.tensor([0.0, 0.5]), "cubic", 1000).tolist() == [999, 875]


def test_noise_is_white_plus_a_shared_offset(generator, data):
    step = objective(generator, data, batch_size=4000, device_batch_size=4000, offset_noise=0.5)
    loss = loss_of(step, Spy(), 0, slice(0, 4000))  # of a prediction of zero: the noise's variance
    assert loss == pytest.approx(1 + 0.5**2, rel=0.03)
    without = objective(generator, data, batch_size=4000, device_batch_size=4000, offset_noise=0)
    assert loss_of(without, Spy(), 0, slice(0, 4000)) == pytest.approx(1, rel=0.03)


def test_a_latent_is_drawn_from_its_posterior_scaled_and_noised(generator, data):
    """Undo the noise that the step drew: what is left is scale * (mean + std * posterior)."""
    step = objective(generator, data, batch_size=12, device_batch_size=12)
    spy = Spy()
    loss_of(step, spy, 3, slice(4, 12))
    samples = step.batches[3][4:12]
    order = np.argsort(samples, kind="stable")
    normal, uniform = step._draw(3, np.arange(4, 12)[order])
    noise, posterior, offset = normal.split([16, 16, 4], dim=1)
    noise = noise.view(8, 4, 2, 2) + 0.1 * offset.view(8, 4, 1, 1)
    alpha = generator.scheduler.alphas_cumprod[spy.timesteps].view(-1, 1, 1, 1)
    clean = (spy.noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()
    expected = []
    for sample in samples[order]:
        subject, local = ("subj01", sample) if sample < 18 else ("subj02", sample - 18)
        cache = step.latents[subject]
        image_id = step.windows[subject].trials["image_id"][local]
        [row] = np.flatnonzero(cache.image_id == image_id)
        expected.append((cache["mean"][row], cache["logvar"][row]))
    mean, logvar = (torch.tensor(np.array(part)).float() for part in zip(*expected, strict=True))
    scale = generator.vae.config.scaling_factor
    wanted = scale * (mean + (0.5 * logvar).exp() * posterior.view(8, 4, 2, 2))
    low = spy.timesteps < 900  # the noise is undone with little loss of precision
    assert low.sum() > 1
    torch.testing.assert_close(clean[low], wanted[low], atol=1e-3, rtol=1e-3)
    assert torch.equal(spy.timesteps, draw_timesteps(uniform[:, 0], "cubic", 1000))
    # both subjects, first all windows of one, then of the other, each its own
    assert [name for name, _ in spy.groups] == ["subj01", "subj02"]
    read = [step.windows["subj01"][[s]] for s in samples[order] if s < 18]
    assert np.array_equal(spy.groups[0][1], np.concatenate(read))
    read = [step.windows["subj02"][[s - 18]] for s in samples[order] if s >= 18]
    assert np.array_equal(spy.groups[1][1], np.concatenate(read))


def test_pieces_of_a_batch_are_the_batch(generator, data):
    step = objective(generator, data, batch_size=12, device_batch_size=12)
    spy = Spy()
    whole = loss_of(step, spy, 5, slice(0, 12))
    dropped = spy.dropped.sum().item()
    pieces = [(loss_of(step, spy, 5, slice(i, i + 4)), spy.dropped.sum().item()) for i in (8, 0, 4)]
    assert np.mean([loss for loss, _ in pieces]) == pytest.approx(whole, rel=1e-6)
    assert sum(n for _, n in pieces) == dropped


def test_steps_and_seeds_differ_and_repeat(generator, data):
    def loss(seed, step):
        return loss_of(objective(generator, data, seed=seed), Spy(), step, slice(0, 4))

    assert loss(0, 1) == loss(0, 1)
    assert len({loss(0, 1), loss(0, 2), loss(1, 1)}) == 3


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_share_of_dropped_conditions(generator, data, share):
    step = objective(
        generator, data, batch_size=4000, device_batch_size=4000, condition_dropout=share
    )
    spy = Spy()
    loss_of(step, spy, 0, slice(0, 4000))
    assert spy.dropped.float().mean().item() == pytest.approx(share, abs=0.02)


def test_dropped_samples_see_the_unconditional_tokens(folder, data):
    generator = load_generator(write_generator(folder / "adapted"))
    run = Run(**run_settings())
    torch.manual_seed(0)
    model = Dynadiff({"subj01": 5}, WINDOW["n_tr"], generator, run).eval()
    torch.nn.init.normal_(model.unconditional)
    seen = []
    model.unet.register_forward_pre_hook(
        lambda module, inputs, named: seen.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    bold, noisy = torch.randn(3, 3, 5), torch.randn(3, 4, 2, 2)
    dropped = torch.tensor([False, True, False])
    model([("subj01", bold)], noisy, torch.tensor([1, 2, 3]), dropped)
    condition = model.brain_module([("subj01", bold)])
    assert torch.equal(seen[0][1], model.unconditional)
    assert torch.equal(seen[0][[0, 2]], condition[[0, 2]])
    assert not torch.allclose(condition[1], model.unconditional)


def test_unconditional_tokens_are_learned_or_zeros(folder):
    generator = load_generator(write_generator(folder / "unconditional"))
    for kind, learned in (("learned", True), ("zeros", False)):
        settings = run_settings(unconditional=kind, changes={"finetune": "none"})
        run = Run(**settings)
        model = Dynadiff({"subj01": 5}, 3, generator, run)
        assert ("unconditional" in model.trained()) == learned
        assert not model.unconditional.any()
