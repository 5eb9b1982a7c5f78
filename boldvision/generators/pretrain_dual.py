"""Train the tiny dual generator on tokens of the tiny CLIP.

It begins as the tiny generator, whose VAE it keeps. It learns from scenes that no miniature dataset
shows, at every text share from 0 to 1, and without a condition: that of Brain-Diffuser (a grey
picture and no words) and that of MindEye1 (zeros).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from boldvision import config
from boldvision.datasets.miniature.scenes import SCENE_SEED, caption, draw_scene, render_all
from boldvision.device import best_device
from boldvision.files import atomic, replace_folder
from boldvision.generators.base import WEIGHTS, load_vae
from boldvision.generators.dual import FLAT, SHARED, DualUNet, new_text_transformers
from boldvision.generators.images import to_tensor
from boldvision.generators.pretrain import new_scheduler, new_unet, training_timesteps
from boldvision.networks.clip.network import Clip
from boldvision.networks.clip.network import load as load_clip
from boldvision.networks.clip.settings import Network
from boldvision.networks.pretraining import descend, require_finite

DROPPED = 0.1
"""Share of samples without a condition."""
ERROR = 0.2
"""Largest error of tokens, in standard deviations."""


@dataclass
class Scenes:
    """What the generator learns from, of `n` scenes, on one device.

    Attributes
    ----------
    latents : Tensor, [n, channels, height, width]
        Of the VAE, scaled.
    tokens : tuple of Tensor, [n, choices, tokens, width]
        Of the image; of the text, the choice between those of one caption and the mean of all.
    nothing : tuple of Tensor, [2, tokens, width]
        Without a condition: zeros; those of a grey picture and of no words.
    """

    latents: torch.Tensor
    tokens: tuple[torch.Tensor, ...]
    nothing: tuple[torch.Tensor, ...]

    def __post_init__(self) -> None:
        self.spread = [tokens.std((0, 1, 2)) for tokens in self.tokens]

    def conditions(self, chosen: torch.Tensor) -> list[torch.Tensor]:
        """Image and text tokens of scenes, less exact than true ones, as a decoder's will be."""
        each = torch.zeros(len(chosen), 1, 1, device=chosen.device)
        dropped, error = torch.rand_like(each) < DROPPED, ERROR * torch.rand_like(each)
        choice, absent = torch.randint(2, (2, len(chosen)), device=chosen.device)
        found = []
        for tokens, nothing, spread in zip(self.tokens, self.nothing, self.spread, strict=True):
            true = tokens[chosen, choice % tokens.shape[1]]
            inexact = true + error * spread * torch.randn_like(true)
            found.append(torch.where(dropped, nothing[absent], inexact))
        return found


@torch.no_grad()
def learn_from(vae: AutoencoderKL, clip: Clip, n: int, px: int, device: str) -> Scenes:
    """Latents and tokens of scenes 1 to `n`."""
    vae, clip = vae.to(device), clip.to(device)
    latents, image = [], []
    for batch in to_tensor(render_all(SCENE_SEED, n, px), px).to(device).split(500):
        latents.append(vae.encode(batch).latent_dist.mean * vae.config.scaling_factor)
        image.append(clip.image_tokens(clip.pixels(batch / 2 + 0.5)))
    grey = clip.image_tokens(clip.pixels(torch.full_like(batch[:1], 0.5)))
    both = (torch.cat(image)[:, None], _caption_tokens(clip, n))
    silent = clip.text_tokens([""])
    nothing = tuple(torch.cat([torch.zeros_like(tokens), tokens]) for tokens in (grey, silent))
    return Scenes(torch.cat(latents), both, nothing)


def _caption_tokens(clip: Clip, n: int) -> torch.Tensor:
    """Of one caption of each scene, and the mean of all, [n, 2, tokens, width]."""
    captions = [caption(draw_scene(SCENE_SEED, i)) for i in range(1, n + 1)]
    texts = sorted({text for of_scene in captions for text in of_scene})
    tokens = torch.cat([clip.text_tokens(texts[i : i + 500]) for i in range(0, len(texts), 500)])
    place = {text: i for i, text in enumerate(texts)}
    of_scene = [tokens[[place[text] for text in own]] for own in captions]
    return torch.stack([torch.stack([own[0], own.mean(0)]) for own in of_scene])


def train(unet: DualUNet, scenes: Scenes, steps: int, batch: int) -> None:
    """Predict the noise in latents, at random text shares."""
    scheduler, device = new_scheduler(), scenes.latents.device
    n = scheduler.config.num_train_timesteps
    for _ in descend(unet.parameters(), steps, peak=2e-3):
        chosen = torch.randint(len(scenes.latents), (batch,), device=device)
        clean = scenes.latents[chosen]
        noise = torch.randn_like(clean) + 0.1 * torch.randn_like(clean[..., :1, :1])
        t = training_timesteps(batch, n).to(device)
        share = (3 * torch.rand(()) - 1).clamp(0, 1).item()  # in a third 0, in another 1
        noisy = scheduler.add_noise(clean, noise, t)
        predicted = unet(noisy, t, *scenes.conditions(chosen), share)
        (predicted - noise).square().mean().backward()


def pretrain_dual(
    settings: config.Generator,
    clip: Network,
    start: Path,
    scenes: int,
    unet_steps: int,
    batch_size: int,
    seed: int,
    out: Path,
) -> None:
    """Train both U-Nets and write a generator of kind ``tiny_dual`` to folder `out` in float16.

    Parameters
    ----------
    settings : config.Generator
    clip : Network
        Settings of the tiny CLIP.
    start : Path
        Folder of the tiny generator.
    scenes, unet_steps, batch_size, seed : int
    out : Path

    Raises
    ------
    UserError
        The optimization diverged, or a network cannot be read.
    """
    assert settings.text_width, settings.kind
    torch.manual_seed(seed)
    vae = load_vae(settings.model_copy(update={"kind": "tiny", "folder": str(start)}))
    learned = learn_from(vae, load_clip(clip), scenes, settings.image_px, best_device())
    image_unet = new_unet(learned.latents.shape[-1], settings.width)
    unet = DualUNet(image_unet, new_text_transformers(image_unet, settings.text_width))
    _begin_as(load_file(start / "image_unet" / WEIGHTS), unet)
    train(unet.to(learned.latents.device), learned, unet_steps, batch_size)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a killed job
    save(unet.cpu().half(), settings.text_width, part)
    new_scheduler().save_pretrained(part / "scheduler")
    shutil.copytree(start / "vae", part / "vae")
    replace_folder(part, out)


def _begin_as(start: dict[str, torch.Tensor], unet: DualUNet) -> None:
    """Take over the parameters of a plain U-Net in both halves, but those that see other tokens.

    These are raised, since CLIP's tokens have norms of 1, not sqrt(width).
    """
    for name, value in unet.unet.state_dict().items():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            value *= value.shape[1] ** 0.5
        else:
            value.copy_(start[name.replace(".image.", ".").replace(".text.", ".")])


def save(unet: DualUNet, text_width: int, folder: Path) -> None:
    """Write both U-Nets as Versatile Diffusion's are published; of the second, the transformers.

    Raises
    ------
    UserError
        A parameter is not finite.
    """
    require_finite(unet.state_dict())
    image, text = unet.halves()
    sizes = unet.unet.config
    with torch.device("meta"):
        plain = UNet2DConditionModel.from_config(sizes)
    plain.load_state_dict(image, assign=True)
    plain.save_pretrained(folder / "image_unet")
    (folder / "text_unet").mkdir()
    with atomic(folder / "text_unet" / WEIGHTS) as part:
        save_file(text, part, metadata={"format": "pt"})
    stated = {name: sizes[name] for name in SHARED}
    stated |= {"_class_name": FLAT, "cross_attention_dim": text_width}
    (folder / "text_unet" / "config.json").write_text(json.dumps(stated, indent=2) + "\n")
