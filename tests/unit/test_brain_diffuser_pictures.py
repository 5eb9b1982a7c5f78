"""From what Brain-Diffuser predicts to pictures, with random networks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoder_data import PX, TOKENS, WIDTH
from dual_data import TEXT_TOKENS, TEXT_WIDTH, write_dual_generator
from PIL import Image

from boldvision import plugins
from boldvision.decoders.brain_diffuser.decoder import BrainDiffuser
from boldvision.errors import UserError
from boldvision.generators.decode import decode_latents
from boldvision.generators.dual import load_dual_generator
from boldvision.networks.vdvae.network import Vdvae
from boldvision.networks.vdvae.sizes import Sizes

SIZES = Sizes(
    image_px=4, width=4, middle=2, zdim=1, mixtures=2, latent_blocks=2,
    encoder="4x1,4d4,1x1", decoder="1x1,4m1,4x1",
)  # fmt: skip
BOLD = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
GREY, SILENCE = torch.full((TOKENS, WIDTH), 0.5), torch.zeros(TEXT_TOKENS, TEXT_WIDTH)

pytestmark = pytest.mark.usefixtures("no_gpu")


class Blank:
    """Stands for CLIP: tells a grey image and an empty text from others."""

    image_px = 6

    def parameters(self):
        return iter([torch.zeros(1)])

    def pixels(self, pictures):
        assert pictures.shape == (1, 3, 6, 6)
        return pictures

    def image_tokens(self, pixels):
        return pixels.mean() * torch.ones(1, TOKENS, WIDTH)

    def text_tokens(self, texts):
        assert texts == [""]
        return SILENCE[None]


def predict(bold):
    """Something that tells windows from each other."""
    flat = torch.from_numpy(bold).flatten(1)
    sizes = SIZES.latents(), TOKENS * WIDTH, TEXT_TOKENS * TEXT_WIDTH
    keys = "latents", "image_tokens", "text_tokens"
    return {k: flat.repeat(1, n)[:, :n].contiguous() for k, n in zip(keys, sizes, strict=True)}


@pytest.fixture(scope="module")
def generator(folder):
    return load_dual_generator(write_dual_generator(folder / "generator"))


@pytest.fixture(scope="module")
def vdvae():
    torch.manual_seed(0)
    network = Vdvae(SIZES).requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(0, 0.3)
    return network


@pytest.fixture
def make(generator, vdvae):
    def made(seed=0, look=True, **reconstruction):
        names = {name: name for name in ("generator", "vdvae", "clip", "latents")}
        names |= {"image_tokens": "image", "text_tokens": "text", "preprocessing": "nsd_prep"}
        run = plugins.run_settings(
            {"decoder": "brain_diffuser", "split": "standard", **names}
            | {"reconstruction": {"steps": 4, **reconstruction}}
        )
        networks = {n: SimpleNamespace(label=f"tiny {n}") for n in ("vdvae", "clip")}
        model = SimpleNamespace(run=run, seed=seed, device="cpu", networks=networks)
        decoder = BrainDiffuser(SimpleNamespace(predict=predict), vdvae, Blank(), generator, model)
        if look:
            decoder.look_at(iter([BOLD[:3], BOLD[3:]]), "subj01")
        return decoder

    return made


def test_a_picture_depends_on_its_window_and_key_alone(make):
    decoder = make()
    together = decoder.reconstruct(BOLD, "subj01", [7, 8, 9, -3])
    assert together.shape == (4, PX, PX, 3)
    assert together.dtype == np.uint8
    alone = decoder.reconstruct(BOLD[2:3], "subj01", [9])
    assert np.abs(alone[0].astype(int) - together[2]).max() <= 1  # sums in another order
    for other in (
        decoder.reconstruct(BOLD[2:3], "subj01", [8]),
        decoder.reconstruct(BOLD[1:2], "subj01", [9]),
        make(seed=1).reconstruct(BOLD[2:3], "subj01", [9]),
    ):
        assert not np.array_equal(other[0], together[2])


def test_the_unet_sees_both_conditions_and_none(make, generator, monkeypatch):
    calls, forward = [], generator.unet.forward
    monkeypatch.setattr(generator.unet, "forward", lambda *a: calls.append(a) or forward(*a))
    decoder = make(steps=50)
    decoder.reconstruct(BOLD[:2], "subj01", [1, 2])
    assert [int(t) for _, t, *_ in calls] == list(range(721, 0, -20))
    _, _, image, text, share = calls[0]
    assert share == pytest.approx(0.4)
    given = predict(BOLD[:2])
    torch.testing.assert_close(image, torch.cat(
        [GREY.expand(2, -1, -1), given["image_tokens"].reshape(2, TOKENS, WIDTH)]
    ))  # fmt: skip
    torch.testing.assert_close(text, torch.cat(
        [SILENCE.expand(2, -1, -1), given["text_tokens"].reshape(2, TEXT_TOKENS, TEXT_WIDTH)]
    ))  # fmt: skip


def test_what_latents_leave_open_is_drawn_for_each_picture(make):
    latents = torch.zeros(3, SIZES.latents())
    one, other, again = make().first_pictures(latents, [1, 2, 1])
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_first_picture_is_resized_as_eight_bits(make, vdvae, monkeypatch):
    small = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    monkeypatch.setattr(vdvae, "decode", lambda latents, streams: torch.from_numpy(small))
    found = make().first_pictures(torch.zeros(2, SIZES.latents()), [1, 2])
    bicubic = Image.fromarray(small[1]).resize((PX, PX), Image.Resampling.BICUBIC)
    assert np.array_equal(found[1], np.asarray(bicubic))


def test_latents_are_those_of_the_pictures(make, generator):
    decoder = make()
    latents = decoder.latents(BOLD, "subj01", [1, 2, 3, 4])
    pictures = decode_latents(generator.vae, latents, rounding="truncate")
    made = decoder.reconstruct(BOLD, "subj01", [1, 2, 3, 4])
    assert np.abs(pictures.astype(int) - made).max() <= 1


def test_windows_that_were_not_looked_at_are_refused(make):
    with pytest.raises(UserError, match="expected windows of the test set that was looked at"):
        make(look=False).reconstruct(BOLD[:1], "subj01", [1])
    with pytest.raises(UserError, match="pass all of them to `look_at` first"):
        make().reconstruct(BOLD[:1] + 1, "subj01", [1])


def test_our_adaptation_and_all_weights_are_in_the_label(make):
    assert make().label.split("; ") == [
        "our adaptation to windows: features are all of their samples",
        "random",
        "tiny vdvae",
        "tiny clip",
    ]
