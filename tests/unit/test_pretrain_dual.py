"""The rule that trained the tiny dual generator, and the weights that ship."""

from functools import cache

import numpy as np
import pytest
import torch
from config_data import values_of
from decoder_data import REPOSITORY
from safetensors.torch import load_file

from boldvision import cli
from boldvision.config.load import load_config
from boldvision.datasets.miniature.scenes import SCENE_SEED, caption, draw_scene, render
from boldvision.generators.decode import decode_latents
from boldvision.generators.dual import load_dual_generator
from boldvision.generators.image_to_image import unipc
from boldvision.generators.images import to_tensor
from boldvision.generators.sampler import initial_noise
from boldvision.networks.clip.network import load as load_clip

TINY = REPOSITORY / "boldvision" / "generators" / "tiny"
SCENES = [draw_scene(SCENE_SEED - 2, image) for image in range(200)]
PICTURES = np.stack([render(scene, 32) for scene in SCENES])
"""No network saw them."""
N = 20
"""Of these, so many are made."""


@cache
def shipped():
    """Settings of the generator and of CLIP."""
    configured = load_config(values_of())
    return configured.generators["tiny_dual"], configured.network("clip")


def test_the_rule_writes_a_generator_that_loads(tmp_path):
    (dual, clip), out = shipped(), tmp_path / "dual"
    small = dual.model_copy(update={"folder": str(out)})
    command = ["pretrain", "--settings", small.model_dump_json(), "--out", str(out)]
    given = ["--clip", clip.model_dump_json(), "--start", str(TINY)]
    steps = ["--scenes", "12", "--unet-steps", "2", "--batch-size", "4"]
    assert cli.main([*command, *given, *steps]) == 0
    assert {path.name for path in out.iterdir()} == {"image_unet", "text_unet", "vae", "scheduler"}
    stored = {path.parent.name: load_file(path) for path in out.rglob("*.safetensors")}
    assert {value.dtype for part in stored.values() for value in part.values()} == {torch.float16}
    for name, value in load_file(*TINY.glob("vae/*.safetensors")).items():
        assert torch.equal(stored["vae"][name], value)
    assert load_dual_generator(small).latent_shape == (4, 4, 4)


@cache
@torch.no_grad()
def given():
    """Generator, CLIP, its tokens of unseen scenes and captions, and those of nothing."""
    dual, network = shipped()
    generator, clip = load_dual_generator(dual), load_clip(network)
    image = seen(clip, PICTURES[:N])
    text = torch.stack([clip.text_tokens(caption(scene)).mean(0) for scene in SCENES[:N]])
    grey = clip.image_tokens(clip.pixels(torch.full((1, 3, 32, 32), 0.5)))
    nothing = {
        "brain_diffuser": (grey, clip.text_tokens([""])),
        "mindeye1": (torch.zeros_like(grey), torch.zeros_like(text[:1])),
    }
    return generator, clip, (image, text), nothing


def seen(clip, pictures):
    return clip.image_tokens(clip.pixels(to_tensor(pictures, 32) / 2 + 0.5))


@cache
def made(text_share, unconditional="mindeye1"):
    """Pictures from noise and true tokens, uint8 [N, 32, 32, 3]."""
    generator, _, true, nothing = given()
    both = [
        torch.cat([empty.expand_as(tokens), tokens])
        for empty, tokens in zip(nothing[unconditional], true, strict=True)
    ]
    noise = initial_noise(generator.latent_shape, 0, range(N))
    latents = unipc(
        generator, lambda noisy, t: generator.unet(noisy, t, *both, text_share),
        None, noise, steps=12, strength=1.0, guidance_scale=2.0,
    )  # fmt: skip
    return decode_latents(generator.vae, latents)


def correlations(rows, columns):
    """Of all pairs of rows of two arrays, [len(rows), len(columns)]."""
    both = np.corrcoef(rows.reshape(len(rows), -1), columns.reshape(len(columns), -1))
    return both[: len(rows), len(rows) :]


@pytest.mark.parametrize(
    ("text_share", "unconditional"),
    [(0, "mindeye1"), (0, "brain_diffuser"), (0.4, "brain_diffuser")],
)
def test_shipped_weights_draw_unseen_scenes_from_true_tokens(text_share, unconditional):
    alike = correlations(made(text_share, unconditional), PICTURES[:N])
    assert alike.diagonal().mean() > 0.65
    assert (alike.argmax(1) == np.arange(N)).mean() >= 0.85


def test_shipped_weights_draw_what_a_text_alone_says():
    """Chance is 0 for the object's colour and 1 in 8 for its category."""
    pictures, middle = made(1.0), (slice(None), slice(8, 24), slice(8, 24))
    colours = [shown[middle].mean((1, 2)).ravel() for shown in (pictures, PICTURES[:N])]
    assert np.corrcoef(colours)[0, 1] > 0.4
    clip = given()[1]
    with torch.no_grad():
        tokens = [seen(clip, shown)[:, 0] for shown in (pictures, PICTURES)]
    nearest = (tokens[0] @ tokens[1].T).argmax(1)
    category = np.array([scene.category for scene in SCENES])
    assert (category[nearest] == category[:N]).mean() > 0.3
