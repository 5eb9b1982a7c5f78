"""MindEye1's pictures: from tokens and a blurry picture to candidates, of which one is kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoder_data import PX, TOKENS, WIDTH
from torch import nn

from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import Trained
from boldvision.decoders.mindeye1 import decoder as module
from boldvision.decoders.mindeye1.candidates import nearest
from boldvision.decoders.mindeye1.decoder import MindEye1Decoder
from boldvision.decoders.mindeye1.low_level_network import LowLevelNetwork
from boldvision.decoders.mindeye1.network import MindEye
from boldvision.decoders.mindeye1.settings import Run
from boldvision.errors import UserError
from boldvision.generators.base import load_generator
from boldvision.generators.decode import decode_values
from boldvision.generators.images import to_uint8

pytestmark = pytest.mark.usefixtures("no_gpu")

N_TR, VOXELS = 2, 3
BOLD = np.random.default_rng(0).standard_normal((3, N_TR, VOXELS)).astype(np.float32)
KEYS = [7, 8, 20]
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def run_of(**reconstruction):
    """Settings of a run with small networks."""
    return Run(
        decoder="mindeye1",
        split="standard",
        preprocessing="nsd_prep",
        generator="tiny",
        clip="clip",
        tokens="clip_image",
        latents="vae",
        teacher="convnext",
        high_level={
            "learning_rate": 1e-3,
            "brain": {"hidden": 6, "blocks": 1, "projector": 4},
            "prior": {"depth": 1, "heads": 2, "head_width": 4, "steps": 3},
        },
        low_level={
            "learning_rate": 1e-3, "hidden": 6, "blocks": 1, "channels": 8, "side": 2,
            "decoder_channels": [16],
        },
        reconstruction={"candidates": 2, **reconstruction},
    )  # fmt: skip


class Eyes(nn.Module):
    """In place of CLIP: tokens are the brightness of quarters; counts its calls."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def pixels(self, pictures):
        assert pictures.min() >= 0
        assert pictures.max() <= 1
        return pictures

    def image_tokens(self, pixels):
        self.seen.append(pixels)
        quarters = nn.functional.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), 2)
        return quarters.flatten(2).transpose(1, 2).expand(-1, -1, WIDTH)


@pytest.fixture
def make(generator):
    """Decoder of random networks, of a run's `reconstruction`."""

    def made(seed=0, **reconstruction):
        torch.manual_seed(1)
        run = run_of(**reconstruction)
        high = MindEye(N_TR * VOXELS, TOKENS, WIDTH, run.high_level)
        low = LowLevelNetwork(N_TR * VOXELS, 6, run.low_level)
        if not run.reconstruction.low_level:
            low = None
        return MindEye1Decoder(
            high, low, load_generator(generator), Eyes(), run, seed, "cpu", "random"
        )

    return made


def unet_calls(decoder):
    """Timesteps and condition of every call from now on."""
    calls, unet = [], decoder.generator.unet
    unet.register_forward_pre_hook(
        lambda _, given, named: calls.append((int(given[1]), named["encoder_hidden_states"])),
        with_kwargs=True,
    )
    return calls


def test_the_nearest_candidate_is_kept_and_of_equal_ones_the_first():
    """Three windows; cosines of four candidates by hand."""
    cosines = torch.tensor([[0.1, 0.9, 0.3, 0.9], [0.5, 0.5, 0.5, 0.5], [-0.9, -0.8, -0.7, 0.2]])
    calls = []

    def tokens(pictures):
        calls.append(int(pictures[0, 0, 0, 0]))
        cosine = cosines[:, calls[-1]]
        return 5 * torch.stack([cosine, (1 - cosine**2).sqrt()], 1)[:, None]

    candidates = (torch.full((3, 3, 2, 2), float(number)) for number in range(4))
    wanted = torch.tensor([[[2.0, 0.0]]]).expand(3, 1, 2)
    kept = nearest(candidates, wanted, tokens)
    assert kept[:, 0, 0, 0].tolist() == [1, 0, 3]
    assert calls == [0, 1, 2, 3]


def test_likeness_is_of_all_tokens_together():
    """Token by token the second would be nearer."""
    wanted = torch.tensor([[[10.0, 0.0], [0.0, 0.1]]])
    tokens = iter([torch.tensor([[[1.0, 0], [1, 0]]]), torch.tensor([[[0.1, 0], [0, 1]]])])
    pictures = [torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)]
    assert nearest(pictures, wanted, lambda _: next(tokens)).max() == 0


@pytest.mark.parametrize(("low_level", "calls", "first"), [(True, 17, 849), (False, 20, 999)])
def test_each_candidate_takes_the_published_steps(make, low_level, calls, first):
    decoder = make(low_level=low_level, candidates=3)
    seen = unet_calls(decoder)
    decoder.reconstruct(BOLD, "subj01", KEYS)
    assert len(seen) == 3 * calls
    assert seen[0][0] == first
    assert len(decoder.clip.seen) == 3


def test_one_candidate_is_not_looked_at(make):
    decoder = make(candidates=1, steps=2)
    assert decoder.reconstruct(BOLD, "subj01", KEYS).shape == (3, PX, PX, 3)
    assert decoder.clip.seen == []


def test_the_condition_is_of_unit_length_in_its_first_token(make, monkeypatch):
    decoder, sampled = make(steps=2, strength=1), []
    sample = decoder.diffusion.sample

    def watched(*given):
        sampled.append(sample(*given))
        return sampled[-1]

    monkeypatch.setattr(decoder.diffusion, "sample", watched)
    seen = unet_calls(decoder)
    decoder.reconstruct(BOLD, "subj01", KEYS)
    without, given = seen[0][1].chunk(2)
    assert without.abs().max() == 0
    norm = sampled[0][:, 0].norm(dim=-1)[:, None, None]
    torch.testing.assert_close(given, sampled[0] / (norm + 1e-6))
    assert not torch.allclose(sampled[0], sampled[1])


@pytest.mark.parametrize("blurry", ["clip_normalised", "plain"])
def test_the_blurry_picture_is_encoded(make, monkeypatch, blurry):
    decoder, seen = make(blurry=blurry, candidates=2, steps=2), []
    encode = module.encode
    monkeypatch.setattr(module, "encode", lambda *a: seen.append(a[1]) or encode(*a))
    decoder.reconstruct(BOLD, "subj01", KEYS)
    latents = decoder.low_level.latents(torch.from_numpy(BOLD))
    with torch.no_grad():
        expected = decode_values(decoder.generator.vae, latents)
    if blurry == "clip_normalised":
        expected = (expected / 2 + 0.5 - CLIP_MEAN) / CLIP_STD
    assert len(seen) == 1  # one sample of the posterior, whatever the candidate
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize("low_level", [True, False])
def test_every_candidate_begins_with_the_blurry_picture(make, monkeypatch, low_level):
    decoder, begun = make(low_level=low_level, candidates=2, steps=4, strength=0.5), []
    unipc = module.unipc
    monkeypatch.setattr(module, "unipc", lambda *a: begun.append(a[2:]) or unipc(*a))
    decoder.reconstruct(BOLD, "subj01", KEYS)
    (start, noise, *how), (again, other_noise, *_) = begun
    assert how == [4, 0.5, 3.5]
    assert not torch.equal(noise, other_noise)
    assert start is again
    assert (start is not None) == low_level
    if low_level:
        latents = decoder.low_level.latents(torch.from_numpy(BOLD[1:2]))
        torch.testing.assert_close(decoder._begin(latents, KEYS[1:2]), start[1:2])


def test_a_picture_does_not_depend_on_its_companions(make):
    decoder = make(steps=3)
    together = decoder.reconstruct(BOLD, "subj01", KEYS)
    alone = decoder.reconstruct(BOLD[1:2], "subj01", KEYS[1:2])
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 1
    assert np.array_equal(decoder.reconstruct(BOLD, "subj01", KEYS), together)


@pytest.mark.parametrize("changed", ["seed", "key"])
def test_what_is_random_comes_from_seed_and_key(make, changed):
    seed, key = (5, 7) if changed == "seed" else (0, 9)
    settings = {"steps": 2, "low_level": False, "candidates": 1}
    one = make(**settings).reconstruct(BOLD[:1], "subj01", [7])
    other = make(seed=seed, **settings).reconstruct(BOLD[:1], "subj01", [key])
    assert np.abs(one.astype(int) - other.astype(int)).max() > 3


def test_of_several_candidates_the_nearest_is_made(make):
    """The same picture as that candidate's number alone."""
    decoder = make(candidates=4, steps=3)
    kept = decoder.reconstruct(BOLD, "subj01", KEYS)
    bold = torch.from_numpy(BOLD)
    with torch.no_grad():
        tokens, compared = decoder.brain(bold)
        start = decoder._begin(decoder.low_level.latents(bold), KEYS)
        made = [decoder._picture(tokens, start, KEYS, number) for number in range(4)]
        cosines = torch.stack(
            [
                nn.functional.cosine_similarity(
                    decoder._tokens_of(pictures).flatten(1), compared.flatten(1)
                )
                for pictures in made
            ]
        )
    best = cosines.argmax(0).tolist()
    assert len({*best}) > 1 or cosines.std(0).min() > 0
    for row, number in enumerate(best):
        assert np.array_equal(kept[row], to_uint8(made[number][row : row + 1])[0])


@pytest.fixture
def model(tmp_path, make, generator, monkeypatch):
    """What the stages write, of random networks."""

    def made(**reconstruction):
        run, decoder = run_of(**reconstruction), make(low_level=True)
        high = {f"brain.{n}": p for n, p in decoder.brain.named_parameters()}
        high |= {f"prior.{n}": p for n, p in decoder.prior.named_parameters() if n != "frequencies"}
        inputs = {"inputs": N_TR * VOXELS}
        write_artefact(tmp_path / "high_level", high, inputs | {"tokens": [TOKENS, WIDTH]})
        write_artefact(tmp_path / "low_level", decoder.low_level.trained(), inputs | {"width": 6})
        labels = {"clip": "tiny CLIP", "convnext": "tiny ConvNeXt"}
        networks = {name: SimpleNamespace(label=label) for name, label in labels.items()}
        monkeypatch.setattr(module, "load_clip", lambda settings: Eyes())
        data = SimpleNamespace()
        return Trained(run, tmp_path, {"tiny": generator}, networks, data, 0, "cpu"), decoder

    return made


def test_a_model_is_read_and_says_what_it_is_made_of(model):
    trained, decoder = model(steps=2)
    loaded = module.load(trained)
    assert loaded.label == "random; tiny CLIP; tiny ConvNeXt"
    for one, other in ((loaded.low_level, decoder.low_level), (loaded.brain, decoder.brain)):
        assert all(
            torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True)
        )
    assert loaded.reconstruct(BOLD, "subj01", KEYS).dtype == np.uint8


def test_without_a_low_level_its_files_are_not_read(model, tmp_path):
    trained, _ = model(low_level=False, steps=2)
    (tmp_path / "low_level" / "model.safetensors").unlink()
    loaded = module.load(trained)
    assert loaded.low_level is None
    assert loaded.label == "random; tiny CLIP"


def test_parameters_of_other_sizes_are_refused(model, tmp_path):
    trained, decoder = model()
    parameters = decoder.low_level.trained() | {"lin0.0.weight": torch.ones(6, 4)}
    write_artefact(tmp_path / "low_level", parameters, {"inputs": 6, "width": 6})
    with pytest.raises(UserError, match=r"low_level.*expected .* parameters"):
        module.load(trained)
    write_artefact(tmp_path / "low_level", parameters, {"width": 6})
    with pytest.raises(UserError, match="the record of a MindEye1 model"):
        module.load(trained)
