"""NaN and infinity end a job where they enter or would leave it, and replace nothing."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoder_data import checkpoints_of, reconstruct_arguments, train, write_subject
from torch import nn

from boldvision import cli
from boldvision.decoders.artefact import read_artefact, write_artefact
from boldvision.decoders.dynadiff.objective import DiffusionObjective
from boldvision.errors import UserError
from boldvision.generators import pretrain
from boldvision.generators.base import load_generator
from boldvision.generators.images import to_uint8
from boldvision.generators.sampler import initial_noise, sample
from boldvision.networks import pretraining
from boldvision.targets.base import Frozen
from boldvision.targets.stage import write_target
from boldvision.targets.vae import network
from boldvision.targets.vae.settings import Target
from boldvision.training.finite import check_state

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def subject(folder):
    return write_subject(folder, "subj01")


@pytest.fixture(scope="module")
def model(generator, subject, folder):
    """A model that was trained well."""
    train(generator, [subject], folder / "model", steps=3)
    return folder / "model"


def content(model):
    """All that a model is."""
    files = [model / "model.json", *(model / "train").iterdir()]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def refused(generator, subject, model, capsys):
    """Says what training in place of the good model says when it fails; the model stays."""

    def said(data=subject, **settings):
        shutil.rmtree(checkpoints_of(model), ignore_errors=True)
        before = content(model)
        with pytest.raises(AssertionError):
            train(generator, [data], model, **settings)
        assert content(model) == before
        return capsys.readouterr().err.splitlines()[-1]

    return said


def broken_at(call, monkeypatch, change):
    """Change the loss of a call of the objective, counted from one."""
    original, calls = DiffusionObjective.loss, []

    def objective(self, *arguments):
        calls.append(None)
        loss = original(self, *arguments)
        return change(loss) if len(calls) == call else loss

    monkeypatch.setattr(DiffusionObjective, "loss", objective)


@pytest.mark.survives(
    "results",
    "Training diverges: the loss is NaN",
    "It stops at the next line of the log, checkpoint or end, names the step, the last finite loss "
    "and what to change; it has overwritten neither the model nor a checkpoint",
)
def test_a_training_that_diverges_is_no_result(refused, monkeypatch):
    rise = [1e-2, 1e-2]
    monkeypatch.setattr(
        "boldvision.training.schedule.learning_rate", lambda step, *_: (rise + [1e15] * 40)[step]
    )
    settings = {"steps": 40, "checkpoint_every_s": 1000}
    said = refused(**settings, log_every=2)
    assert "the loss is not finite after" in said
    assert "the last finite loss, at step 2, was" in said
    assert "Lower the run's `learning_rate`" in said
    said = refused(**settings, log_every=1000)
    assert "after 40 steps; no finite loss was logged before" in said


@pytest.mark.parametrize("step", [3, 4])
def test_a_checkpoint_is_never_replaced_by_one_that_is_not_finite(
    refused, model, monkeypatch, step
):
    """The loss of step 3 is NaN; that of step 4 is finite, but its gradient is not."""
    changes = {
        3: lambda loss: loss * float("nan"),
        4: lambda loss: loss + 0 * (loss - loss.detach()).sqrt(),
    }
    broken_at(step, monkeypatch, changes[step])
    said = refused(steps=30, checkpoint_every_s=0, log_every=1000)
    assert f"not finite after {step} steps" in said
    left = sorted(checkpoints_of(model).glob("*/step-*.pt"))
    assert left[-1].name[:13] == f"step-{step - 1:08d}"
    state = torch.load(left[-1], weights_only=True)
    assert all(value.isfinite().all() for value in state["model"].values())


def test_a_loss_that_harms_no_parameter_is_seen_too(refused, monkeypatch):
    """As in half precision, where the step of such a loss is skipped."""
    broken_at(3, monkeypatch, lambda loss: loss + float("nan"))
    assert "the loss is not finite after 3 steps" in refused(steps=3, checkpoint_every_s=1000)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_last_step_is_looked_at_too(refused, monkeypatch, steps):
    """The last update is not finite though every loss was; or AdamW's moments overflow."""
    broken_at(steps, monkeypatch, lambda loss: loss * 1e30)
    said = refused(steps=steps, checkpoint_every_s=1000)
    assert f"AdamW's exp_avg_sq of parameter 0 is not finite after {steps} steps" in said


def test_all_processes_fail_together():
    """This one's state is finite, that of another is not."""
    accelerator = SimpleNamespace(
        unwrap_model=lambda model: model,
        distributed_type=SimpleNamespace(value="MULTI_GPU"),
        device="cpu",
        reduce=lambda flag, how: flag + 1,
    )
    network = nn.Linear(2, 2)
    network.trained = lambda: dict(network.named_parameters())
    with pytest.raises(UserError, match="a parameter of another process is not finite after 7"):
        check_state(accelerator, network, torch.optim.AdamW(network.parameters()), 7, [])


@pytest.mark.survives(
    "results",
    "A BOLD sample is NaN",
    "Training and reconstruction stop and name subject, session file and trial",
)
def test_bold_that_is_not_finite_is_named(refused, generator, subject, model, folder, capsys):
    broken = replace(subject, bold=folder / "broken")
    broken.bold.mkdir(exist_ok=True)
    series = np.load(subject.bold / "session01.npy")
    series[0, 11:80, 3] = np.nan
    np.save(broken.bold / "session01.npy", series)
    said = refused(data=broken, steps=30)
    assert "subj01: expected finite BOLD, found NaN or infinity in session01.npy" in said
    windows = {f"{n}": {"start_s": 4 * n / 3, "n_tr": 3} for n in range(0, 225, 3)}
    command = reconstruct_arguments(
        generator, broken, model, folder / "never", windows, trials="averaged"
    )
    assert cli.main(command) == 1
    assert "found NaN or infinity in a session's file" in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_a_model_that_is_not_finite_is_not_written(tmp_path):
    write_artefact(tmp_path, {"a": torch.ones(2)}, {"steps": 1})
    with pytest.raises(UserError, match="found NaN or infinity in b; it was not written"):
        write_artefact(tmp_path, {"a": torch.zeros(2), "b": torch.tensor([torch.inf])}, {})
    parameters, record = read_artefact(tmp_path)
    assert parameters["a"].tolist() == [1, 1]
    assert record["steps"] == 1


@pytest.mark.survives(
    "results",
    "Sampled latents or pictures are NaN, as half precision can make them",
    "Reconstruction stops and says which precision to set; no picture is written as black",
)
def test_what_is_sampled_must_be_finite(generator):
    frozen = load_generator(generator)
    noise = initial_noise(frozen.latent_shape, 0, [1])
    tokens = torch.full((1, generator.tokens, generator.width), torch.nan)
    with pytest.raises(UserError, match="expected finite latents after 2 steps"):
        sample(frozen, tokens, tokens[0], noise, 2, 3.0)
    pictures = torch.zeros(2, 3, 4, 4)
    assert to_uint8(pictures).shape == (2, 4, 4, 3)
    pictures[1, 0, 0, 0] = torch.inf
    with pytest.raises(UserError, match=r"finite pictures.*reconstruction.precision"):
        to_uint8(pictures)


@pytest.mark.survives(
    "results",
    "An image's latents are not finite, or overflow float16",
    "Encoding stops and names the image; no cache is written",
)
def test_latents_that_are_not_finite_are_not_cached(generator, subject, tmp_path, monkeypatch):
    frozen = load_generator(generator)
    with torch.no_grad():
        frozen.vae.quant_conv.bias[0] = 1e5  # beyond float16
    monkeypatch.setattr(network, "load_vae", lambda _: frozen.vae)
    encode = network.load(
        Target(kind="vae", generator="tiny"), Frozen({"tiny": generator}, {}, "cpu")
    )
    with pytest.raises(UserError, match=r"images.h5: expected finite .* in the mean of image 1\b"):
        write_target(encode, subject.images, tmp_path / "latents.h5", batch_size=4)
    assert not list(tmp_path.iterdir())


@pytest.mark.survives(
    "results",
    "Training of the tiny generator diverges",
    "It stops at that step and writes nothing",
)
def test_a_generator_that_diverges_is_not_written(generator, tmp_path, monkeypatch):
    small = generator.model_copy(update={"folder": str(tmp_path / "out"), "width": 32})
    sizes = {"scenes": 12, "vae_steps": 1, "unet_steps": 2, "seed": 0, "out": tmp_path / "out"}
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "learning_rate", lambda *_: 1e30)
        with pytest.raises(UserError, match=r"found norm (nan|inf) at step \d of 2"):
            pretrain.pretrain(small, **sizes)
    new = pretrain.new_vae

    def beyond_float16(px):
        vae = new(px)
        nn.init.constant_(vae.post_quant_conv.bias, 1e5)
        return vae

    monkeypatch.setattr(pretrain, "new_vae", beyond_float16)
    with pytest.raises(UserError, match=r"infinity in post_quant_conv.bias; nothing was written"):
        pretrain.pretrain(small, **sizes)
    assert not list(tmp_path.iterdir())
