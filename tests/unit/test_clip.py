"""The network `clip`: tokens, published checkpoints, and what the shipped weights know."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from decoder_data import REPOSITORY
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn.functional import cross_entropy
from transformers import CLIPConfig, CLIPModel

from boldvision import cli
from boldvision.datasets.miniature.scenes import (
    CATEGORIES,
    SCENE_SEED,
    caption,
    draw_scene,
    render,
    vocabulary,
)
from boldvision.errors import UserError
from boldvision.flop import teraflop
from boldvision.networks.clip import pretrain
from boldvision.networks.clip.keys import converted
from boldvision.networks.clip.network import Clip, load
from boldvision.networks.clip.settings import Network

NAMED = yaml.safe_load((REPOSITORY / "boldvision/networks/clip/networks.yaml").read_text())
TINY = Network(**NAMED["miniature"]["clip"])
REAL = Network(**NAMED["miniature"]["clip"] | NAMED["real"]["clip"])

VIT_L14 = {
    part: {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": 768} | own
    for part, own in {
        "vision": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
        },
        "text": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "vocab_size": 49408,
            "max_position_embeddings": 77,
        },
    }.items()
}


@pytest.fixture(scope="module")
def tiny():
    return load(TINY)


def pictures(scenes, px=32):
    stack = np.stack([render(scene, px) for scene in scenes])
    return torch.from_numpy(stack).permute(0, 3, 1, 2) / 255


# What is said about a scene


def test_a_scene_is_described_in_two_to_five_phrases_of_known_words():
    scenes = [draw_scene(3, number) for number in range(1, 301)]
    said = [caption(scene) for scene in scenes]
    assert said == [caption(scene) for scene in scenes]
    assert {len(phrases) for phrases in said} == {2, 3, 4, 5}
    for scene, phrases in zip(scenes, said, strict=True):
        assert len(set(phrases)) == len(phrases)
        for phrase in phrases:
            assert {*phrase.split()} <= {*vocabulary()}
            assert CATEGORIES[scene.category] in phrase.split()
            assert len(phrase.split()) <= pretrain.LENGTH - 2
            assert not any(f" a {vowel}" in f" {phrase}" for vowel in "aeiou")


# Pixels


def test_a_black_and_white_picture_is_in_the_range_of_one_rescale(tiny):
    half = torch.zeros(1, 3, 32, 32)
    half[..., 16:] = 1
    pixels = tiny.pixels(half)
    assert pixels.min().item() == pytest.approx(-1.7923, abs=1e-3)
    assert pixels.max().item() == pytest.approx(2.1459, abs=1e-3)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(48, 48), (40, 57), (30, 41)])
def test_pixels_are_resized_and_cropped_as_torchvision_does(tiny, size, antialias):
    from torchvision.transforms import v2

    bicubic = v2.InterpolationMode.BICUBIC
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    resize = v2.Resize(32, interpolation=bicubic, antialias=antialias)
    normalize = v2.Normalize(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    )
    expected = normalize(v2.CenterCrop(32)(resize(picture)))
    torch.testing.assert_close(tiny.pixels(picture, antialias), expected, atol=1e-5, rtol=0)


# Tokens


def test_all_tokens_of_an_image_are_normed_projected_and_divided_by_the_first_ones_norm(tiny):
    pixels = tiny.pixels(pictures([draw_scene(3, 1), draw_scene(3, 2)]))
    vision = tiny.vision
    tokens = tiny.image_tokens(pixels)
    assert tokens.shape == (2, 17, 64)
    whole = vision(pixel_values=pixels)
    for image in (0, 1):
        first = whole.image_embeds[image]
        hidden = whole.last_hidden_state[image]
        expected = vision.visual_projection(vision.vision_model.post_layernorm(hidden))
        torch.testing.assert_close(tokens[image], expected / first.norm())
        torch.testing.assert_close(tokens[image, 0], first / first.norm())


def test_tokens_of_a_text_are_divided_by_the_norm_at_its_first_end(tiny):
    tokens = tiny.text_tokens(["a red boat", ""])
    assert tokens.shape == (2, 16, 64)
    lengths = tokens.norm(dim=-1)
    assert lengths[0, 4].item() == pytest.approx(1)  # behind the start and three words
    assert lengths[1, 1].item() == pytest.approx(1)
    assert (lengths[0] - 1).abs().topk(2, largest=False).values[1] > 1e-4
    ids = tiny.token_ids(["a red boat"])
    whole = tiny.text(input_ids=ids)
    projected = tiny.text.text_projection(whole.last_hidden_state)
    torch.testing.assert_close(tokens[:1], projected / whole.text_embeds.norm())
    torch.testing.assert_close(tiny.pooled(ids), tokens[:1, 4])


def test_a_text_is_filled_up_with_the_end_or_cut_before_it(tiny):
    start, end = map(tiny.tokenizer.token_to_id, ("<|startoftext|>", "<|endoftext|>"))
    short, long = tiny.token_ids(["A red boat", "red " * 40]).tolist()
    assert short[0] == start
    assert short[4:] == [end] * 12
    assert end not in short[:4]
    assert len(long) == 16
    assert long[0] == start
    assert long.index(end) == 15


def test_a_text_is_the_same_alone_and_among_others(tiny):
    texts = ["a red boat", "purple sky over blue ground with a large lime boat", ""]
    together = tiny.text_tokens(texts)
    for text, tokens in zip(texts, together, strict=True):
        torch.testing.assert_close(tiny.text_tokens([text])[0], tokens, atol=1e-5, rtol=1e-4)


# Weights


def published(folder):
    """Files laid out as OpenAI's on the Hub, of a random small CLIP; and that CLIP."""
    tokenizer = pretrain.new_tokenizer()
    sizes = pretrain.sizes(tokenizer.get_vocab_size())
    for part in sizes.values():
        part |= {"num_hidden_layers": 1, "hidden_act": "gelu"}  # not transformers' default
        del part["projection_dim"]
    configuration = CLIPConfig(
        vision_config=sizes["vision"], text_config=sizes["text"], projection_dim=24
    )
    torch.manual_seed(0)
    model = CLIPModel(configuration).eval()
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    for part, places in (("vision", 17), ("text", 16)):  # as older versions wrote them
        state[f"{part}_model.embeddings.position_ids"] = torch.arange(places)[None]
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    content = {"projection_dim": 24, "logit_scale_init_value": 2.6592}
    content |= {f"{part}_config": {**sizes[part], "eos_token_id": 2} for part in sizes}
    (folder / "config.json").write_text(json.dumps(content))
    tokenizer.save(str(folder / "tokenizer.json"))
    files = {path.name: path for path in folder.iterdir()}
    return files, model


def read(folder):
    return load(TINY.model_copy(update={"folder": str(folder), "width": 24}))


def test_a_published_checkpoint_becomes_the_network(tmp_path):
    files, model = published(tmp_path / "published")
    assert files.keys() == REAL.files.keys()
    (out := tmp_path / "out").mkdir()
    converted(files, out)
    clip = read(out)
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    pixels = clip.pixels(torch.rand(2, 3, 32, 32))
    ids = clip.token_ids(["a red boat", "a small olive fish high left"])
    with torch.no_grad():
        image = model.get_image_features(pixel_values=pixels).pooler_output
        model.text_model.eos_token_id = clip.text.config.eos_token_id
        text = model.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(clip.image_tokens(pixels)[:, 0], image / image.norm(dim=1)[:, None])
    torch.testing.assert_close(clip.pooled(ids), text / text.norm(dim=1)[:, None])
    kept = load_file(out / "model.safetensors").keys()
    assert kept == {*clip.published()}
    assert "logit_scale" not in kept


@pytest.mark.survives(
    "networks",
    "A published CLIP of another layout",
    "Nothing is converted; the message names the file and what is missing",
)
@pytest.mark.parametrize("gone", ["visual_projection", "text_model"])
def test_another_checkpoint_is_refused(tmp_path, gone):
    files, _ = published(tmp_path / "published")
    state = load_file(files["model.safetensors"])
    save_file(
        {n: v for n, v in state.items() if not n.startswith(gone)}, files["model.safetensors"]
    )
    with pytest.raises(UserError, match=rf"model\.safetensors: expected a published CLIP.*{gone}"):
        converted(files, tmp_path)


@pytest.mark.survives(
    "networks",
    "A CLIP of other sizes than the configuration or its own parameters say",
    "The job stops before it computes anything, and names the file",
)
def test_a_network_of_other_sizes_is_refused(tmp_path):
    files, _ = published(tmp_path / "published")
    (out := tmp_path / "out").mkdir()
    converted(files, out)
    other = TINY.model_copy(update={"folder": str(out)})
    with pytest.raises(UserError, match=r"config\.json.*'width': 24.*'width': 64"):
        load(other)
    state = load_file(out / "model.safetensors")
    state.pop("text_projection.weight")
    save_file(state, out / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors.*text_projection"):
        read(out)
    (out / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        read(out)


def test_the_published_size_is_that_of_vit_l14():
    with torch.device("meta"):
        clip = Clip(VIT_L14, pretrain.new_tokenizer())
    assert clip.shape() == REAL.model_dump(include={"image_tokens", "text_tokens", "width"})
    assert sum(parameter.numel() for parameter in clip.parameters()) == 427_616_513 - 1  # the scale
    pixels = torch.zeros(1, 3, 224, 224, device="meta")
    assert clip.image_tokens(pixels).shape == (1, 257, 768)
    assert clip.text_tokens(["a red boat"]).shape == (1, 77, 768)
    ids = clip.token_ids([""])
    assert teraflop(lambda: clip.image_tokens(pixels)) == pytest.approx(
        REAL.image_teraflop, rel=0.01
    )
    assert teraflop(lambda: clip.pooled(ids)) == pytest.approx(REAL.text_teraflop, rel=0.01)


@pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="1.7 GB: BOLDVISION_SLOW=1")
def test_the_published_size_computes():
    torch.manual_seed(0)
    clip = Clip(VIT_L14, pretrain.new_tokenizer()).eval()
    with torch.no_grad():
        image = clip.image_tokens(clip.pixels(torch.rand(2, 3, 425, 425)))
        text = clip.text_tokens(["a red boat", ""])
    assert image.shape == (2, 257, 768)
    assert text.shape == (2, 77, 768)
    torch.testing.assert_close(image[:, 0].norm(dim=1), torch.ones(2))
    assert image.isfinite().all()
    assert text.isfinite().all()


def test_the_rule_writes_a_network_that_loads(tmp_path):
    out = tmp_path / "clip"
    steps = ["--scenes", "6", "--steps", "2", "--batch-size", "4"]
    command = ["pretrain_network", "--kind", "clip", "--out", str(out)]
    (tmp_path / "clip.part").mkdir()
    (tmp_path / "clip.part" / "of_a_killed_job").touch()
    for _ in range(2):  # over what is there, too
        assert cli.main([*command, *steps]) == 0
    assert {path.name for path in out.iterdir()} == {*REAL.files}
    assert {value.dtype for value in load_file(out / "model.safetensors").values()} == {
        torch.float16
    }
    clip = load(TINY.model_copy(update={"folder": str(out)}))
    assert clip.text.text_projection.weight.dtype == torch.float32
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_training_brings_pictures_and_captions_together(monkeypatch):
    errors = []

    def recorded(scores, answers):
        errors.append(cross_entropy(scores, answers).item())
        return cross_entropy(scores, answers)

    monkeypatch.setattr(pretrain, "cross_entropy", recorded)
    torch.manual_seed(0)
    tokenizer = pretrain.new_tokenizer()
    clip = Clip(pretrain.sizes(tokenizer.get_vocab_size()), tokenizer)
    pretrain.train(clip, seed=0, scenes=16, steps=16, batch_size=16)
    assert np.mean(errors[-8:]) < 0.85 * np.mean(errors[:8])


@pytest.mark.survives(
    "networks",
    "The training of a small network diverges",
    "It stops with what to change; the network that was there stays",
)
def test_a_training_that_diverges_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "cross_entropy", lambda scores, _: scores.sum() * torch.nan)
    (out := tmp_path / "clip").mkdir()
    (out / "there").touch()
    steps = ["--scenes", "6", "--steps", "2", "--batch-size", "4"]
    assert cli.main(["pretrain_network", "--kind", "clip", "--out", str(out), *steps]) == 1
    assert "expected finite gradients, found norm nan at step 1 of 2" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["there"]


def test_a_kind_without_a_training_is_refused(tmp_path, capsys):
    command = ["pretrain_network", "--out", str(tmp_path / "out"), "--kind"]
    assert cli.main([*command, "none"]) == 1
    assert "'none' is none of the networks" in capsys.readouterr().err


# What ships


@pytest.fixture(scope="module")
def unseen(tiny):
    """Scenes that it was not trained on, and the tokens of their pictures."""
    scenes = [draw_scene(SCENE_SEED + 1, number) for number in range(1, 1001)]
    with torch.no_grad():
        return scenes, tiny.image_tokens(tiny.pixels(pictures(scenes)))


def test_a_caption_finds_its_picture_among_100(tiny, unseen):
    """By chance one of 100 is found; five of 100 are among the first five."""
    scenes, tokens = unseen
    ranks = []
    for start in range(0, 1000, 100):
        some = slice(start, start + 100)
        alike = tiny.pooled(tiny.token_ids([caption(scene)[0] for scene in scenes[some]]))
        alike = alike @ tokens[some, 0].T
        ranks += (alike > alike.diagonal()[:, None]).sum(dim=1).tolist()
    found = (np.array(ranks) < 1).mean(), (np.array(ranks) < 5).mean()
    assert found[0] > 0.4
    assert found[1] > 0.8


def explained(features, values):
    """Variance of `values` that a linear map of `features` explains, in the last 200 of 1000."""
    fit = Ridge(0.1).fit(features[:800], values[:800])
    error = (fit.predict(features[800:]) - values[800:]) ** 2
    return 1 - error.mean() / values[800:].var(axis=0).mean()


def test_colours_layout_and_category_are_linearly_readable(unseen):
    scenes, tokens = unseen
    every = tokens.flatten(1).numpy()
    for name, least in (("top", 0.9), ("bottom", 0.9), ("colour", 0.75)):
        values = np.array([getattr(scene, name) for scene in scenes])
        assert explained(every, values) > least, name
    coarse = pictures(scenes).unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-1, -2)).flatten(1)
    assert explained(tokens[:, 1:].flatten(1).numpy(), coarse.numpy()) > 0.8
    category = np.array([scene.category for scene in scenes])
    first = tokens[:, 0].numpy()
    fit = LogisticRegression(C=30, max_iter=500).fit(first[:800], category[:800])
    assert fit.score(first[800:], category[800:]) > 0.3  # by chance 1 of 8


def test_what_ships_is_small():
    folder = REPOSITORY / TINY.folder
    assert sum(path.stat().st_size for path in Path(folder).iterdir()) < 3e6
