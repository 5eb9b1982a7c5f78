"""Train MindEye1's high level: the map to CLIP tokens and the prior, jointly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import Job
from boldvision.decoders.mindeye1.augment import augment, high_level
from boldvision.decoders.mindeye1.losses import (
    Schedule,
    bimixco,
    draw_mixing,
    mixed_labels,
    softclip,
)
from boldvision.decoders.mindeye1.network import MindEye
from boldvision.decoders.mindeye1.prior import Diffusion
from boldvision.decoders.mindeye1.samples import Samples, whole
from boldvision.decoders.mindeye1.settings import HighLevel
from boldvision.device import fuse
from boldvision.images import ImageStack
from boldvision.networks.clip.network import load
from boldvision.seeds import derive
from boldvision.targets.base import TargetFile
from boldvision.training.gather import require_whole_shares, rows_of_all
from boldvision.training.loop import make_accelerator, optimize
from boldvision.training.record import versions
from boldvision.training.schedule import ShuffledBatches


def main(job: Job) -> None:
    """Train both networks.

    Raises
    ------
    UserError
        A process cannot hold its rows of a batch, or there are several subjects.
    """
    samples = Samples(job)
    settings = whole(job.run.high_level, len(samples))
    accelerator = make_accelerator(settings)
    require_whole_shares(settings, "high_level", accelerator.num_processes)
    device = accelerator.device
    images = Augmented(job, samples, device) if settings.augment else Cached(job, samples)
    torch.manual_seed(job.seed)
    model = MindEye(samples.inputs, *images.shape, settings)
    make_fast(model.to(device), settings)
    objective = Objective(samples, images, settings, job.seed)
    record = optimize(model, objective, accelerator, settings, job.seed, job.checkpoints)
    if accelerator.is_main_process:
        record |= {
            "inputs": samples.inputs,
            "tokens": images.shape,
            "samples": len(samples),
            "dropped_windows": samples.windows.dropped,
            "parameters": {
                part: sum(p.numel() for p in network.parameters())
                for part, network in model.named_children()
            },
            **versions(device),
        }
        write_artefact(job.out, model.trained(), record)


def make_fast(model: MindEye, settings: HighLevel) -> None:
    """Take the networks as the settings ask for it: the same function, but for rounding."""
    if settings.activation_checkpointing:
        model.prior.through = partial(checkpoint, use_reentrant=False)
    if settings.compile:
        fuse(model.brain)
        fuse(model.prior)


class Cached:
    """Tokens of the images as they are, from a target file."""

    def __init__(self, job: Job, samples: Samples):
        self.file = TargetFile(samples.subject.targets[job.run.tokens])
        self.rows = self.file.rows(samples.image_id)
        _, tokens, width = self.file["tokens"].shape
        self.shape = (tokens, width)

    def read(self, step: int, rows: np.ndarray, samples: np.ndarray) -> torch.Tensor:
        """Tokens [B, tokens, width], float16."""
        return torch.from_numpy(self.file["tokens"][self.rows[samples]])

    def tokens(self, read: torch.Tensor) -> torch.Tensor:
        """The same, float32."""
        return read.float()


class Augmented:
    """Images that are augmented, each by random numbers of its own, and a frozen CLIP."""

    def __init__(self, job: Job, samples: Samples, device: torch.device):
        network: Any = job.networks[job.run.clip]
        self.clip = load(network).to(device)
        self.images, self.image_id = ImageStack(samples.subject.images), samples.image_id
        self.seed, self.shape = job.seed, (network.image_tokens, network.width)

    def read(self, step: int, rows: np.ndarray, samples: np.ndarray) -> torch.Tensor:
        """Pictures [B, 3, H, W] of 0 to 1."""
        pictures = torch.from_numpy(self.images.read(self.image_id[samples]))
        seeds = [derive(self.seed, "augment", step, row) for row in rows.tolist()]
        pictures = pictures.permute(0, 3, 1, 2).float() / 255
        return augment(pictures, seeds, high_level, self.clip.image_px)

    @torch.no_grad()
    def tokens(self, read: torch.Tensor) -> torch.Tensor:
        """CLIP's tokens [B, tokens, width] of these."""
        return self.clip.image_tokens(self.clip.pixels(read))


class Objective:
    """Contrastive loss of windows and images, and the prior's squared error.

    Everything random in a row of the global batch is drawn from (seed, step, row), and which rows
    are mixed from (seed, step); the contrastive loss is that of all rows of all processes.

    Parameters
    ----------
    samples : Samples
    images : Cached or Augmented
    settings : HighLevel
    seed : int
    """

    def __init__(
        self, samples: Samples, images: Cached | Augmented, settings: HighLevel, seed: int
    ):
        self.samples, self.images, self.settings, self.seed = samples, images, settings, seed
        self.schedule = Schedule(settings.steps, settings.epochs, settings.contrast)
        self.diffusion = Diffusion(settings.prior.steps, images.shape[-1])
        self.batches = ShuffledBatches(len(samples), settings.batch_size, seed)

    def batch(self, step: int, rows: slice) -> dict[str, torch.Tensor]:
        """Windows, mixed while that is done, images, and random numbers of rows of a step."""
        samples, own = self.batches[step], np.arange(rows.start, rows.stop)
        bold = self.samples.read(samples[own], step)
        batch = {
            "images": self.images.read(step, own, samples[own]),
            "temperature": torch.tensor(self.schedule.temperature(step)),
            **self._draw(step, own),
        }
        if self.schedule.mixes(step):
            contrast = self.settings.contrast
            partner, share = draw_mixing(self.seed, step, len(samples), contrast)
            for i in np.flatnonzero(share[own] < 1).tolist():
                row = own[i]
                other = self.samples.read(samples[partner[row : row + 1]], step)[0]
                bold[i] = share[row] * bold[i] + (1 - share[row]) * other
            labels = mixed_labels(torch.tensor(share), torch.tensor(partner), contrast.unmoved)
            batch["labels"] = labels
        return batch | {"bold": bold}

    def loss(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """Contrastive loss of the global batch and mean squared error of the prior's rows."""
        target = self.images.tokens(batch["images"])
        clean = target * self.diffusion.scale
        noisy = self.diffusion.add_noise(clean, batch["noise"], batch["time"])
        compared, predicted = model(batch["bold"], noisy, batch["time"], batch["dropped"])
        sides = rows_of_all(compared.float().flatten(1)), rows_of_all(target.flatten(1))
        if "labels" in batch:
            contrast = bimixco(*sides, batch["labels"], batch["temperature"])
        else:
            contrast = softclip(*sides, batch["temperature"])
        error = (predicted.float() - clean).square().mean()
        return contrast + self.settings.prior.weight * error

    def _draw(self, step: int, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Noise, its step, and what the prior does without, of rows."""
        noise = torch.empty(len(rows), *self.images.shape)
        uniform = torch.empty(len(rows), 3)
        stream = torch.Generator()
        for i, row in enumerate(rows.tolist()):
            stream.manual_seed(derive(self.seed, "step", step, row))
            torch.randn(noise.shape[1:], generator=stream, out=noise[i])
            torch.rand(3, generator=stream, out=uniform[i])
        prior = self.settings.prior
        time = (uniform[:, 0] * prior.steps).long().clamp(max=prior.steps - 1)
        return {"noise": noise, "time": time, "dropped": uniform[:, 1:] < prior.condition_dropout}
