"""The rule that trained the tiny generator, and the weights that ship."""

import json

import numpy as np
import torch
from decoder_data import REPOSITORY
from safetensors.torch import load_file, load_model

from boldvision import cli, config
from boldvision.datasets.miniature.scenes import render_all
from boldvision.generators.base import PARTS, load_generator
from boldvision.generators.decode import decode_latents
from boldvision.generators.images import to_tensor, to_uint8
from boldvision.generators.pretrain import SCENE_SEED, ConditionEncoder
from boldvision.generators.sampler import initial_noise, sample
from boldvision.metrics.identification import two_way_identification

SHIPPED = REPOSITORY / "boldvision" / "generators" / "tiny"
TINY = config.Generator(kind="tiny", folder=str(SHIPPED), image_px=32, tokens=16, width=32)


def condition_tokens(settings, latents):
    """Tokens of true, scaled latents: what a perfect brain module would predict."""
    encoder = ConditionEncoder(latents.shape[1], settings.tokens, settings.width)
    load_model(encoder, f"{settings.folder}/condition_encoder.safetensors")
    return encoder(latents)


def test_the_rule_writes_a_generator_that_loads(tmp_path):
    out = tmp_path / "tiny"
    small = TINY.model_copy(update={"folder": str(out), "image_px": 16, "tokens": 4})
    command = ["pretrain", "--settings", small.model_dump_json(), "--out", str(out)]
    steps = ["--scenes", "12", "--vae-steps", "2", "--unet-steps", "2"]
    assert cli.main([*command, *steps]) == 0
    found = {path.name for path in out.iterdir()}
    assert found == {*PARTS, "condition_encoder.safetensors"}
    assert json.loads((out / "vae" / "config.json").read_text())["scaling_factor"] > 0
    for weights in out.rglob("*.safetensors"):
        assert {value.dtype for value in load_file(weights).values()} == {torch.float16}

    generator = load_generator(small)
    assert generator.latent_shape == (4, 2, 2)
    tokens = condition_tokens(small, torch.randn(2, 4, 2, 2))
    assert tokens.shape == (2, 4, 32)
    noise = initial_noise(generator.latent_shape, 0, [1, 2])
    made = sample(generator, tokens, torch.zeros_like(tokens[0]), noise, 2, 3.0)
    assert decode_latents(generator.vae, made).shape == (2, 16, 16, 3)
    trained = [parameter for parameter in generator.unet.parameters() if parameter.requires_grad]
    assert not trained


def test_tokens_are_one_per_place_in_rows():
    encoder = ConditionEncoder(4, 6, 5)
    latents = torch.randn(1, 4, 2, 3)
    moved = latents.clone()
    moved[:, :, 1, 0] += 1
    changed = (encoder(latents) != encoder(moved)).any(-1)
    assert changed.nonzero().tolist() == [[0, 3]]


def test_shipped_weights_reconstruct_held_out_scenes_from_true_conditions():
    seed = SCENE_SEED - 1
    scenes = to_tensor(render_all(seed, 40, TINY.image_px), TINY.image_px)
    generator = load_generator(TINY)
    with torch.no_grad():
        latents = generator.vae.encode(scenes).latent_dist.mean
        tokens = condition_tokens(TINY, latents * generator.vae.config.scaling_factor)
    noise = initial_noise(generator.latent_shape, 0, range(len(scenes)))
    made = sample(generator, tokens, torch.zeros_like(tokens[0]), noise, 10, 3.0)
    won = two_way_identification(
        stimuli=to_uint8(scenes).reshape(len(scenes), -1).astype(np.float64),
        predictions=decode_latents(generator.vae, made).reshape(len(scenes), -1).astype(np.float64),
        direction="prediction",
    )
    assert won.mean() >= 0.95
