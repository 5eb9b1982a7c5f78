"""Dynadiff's loss: the noise in a latent, predicted from BOLD (paper, section 2.2, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from boldvision.decoders.base import read_finite
from boldvision.decoders.dynadiff.settings import Training
from boldvision.generators.base import Generator
from boldvision.generators.timesteps import draw_timesteps
from boldvision.seeds import derive
from boldvision.targets.base import TargetFile
from boldvision.training.schedule import ShuffledBatches
from boldvision.trials.windows import AveragedWindows, Windows


class DiffusionObjective:
    """Mean squared error of the predicted noise, over trials of one or several subjects.

    Everything random in a row of the global batch is drawn from (seed, step, row), so the number of
    devices does not change what is learned, and a process draws for its own rows alone.

    Parameters
    ----------
    windows, latents : mapping of str to Windows and TargetFile
        By subject; latents of all images shown in the windows.
    generator : Generator
    settings : Training
    seed : int
    """

    def __init__(
        self,
        windows: Mapping[str, Windows | AveragedWindows],
        latents: Mapping[str, TargetFile],
        generator: Generator,
        settings: Training,
        seed: int,
    ):
        self.windows, self.latents, self.settings = windows, latents, settings
        self.scheduler, self.shape = generator.scheduler, generator.latent_shape
        self.scale = generator.vae.config.scaling_factor
        self.seed, self.subjects = seed, list(windows)
        self.ends = np.cumsum([len(windows[subject]) for subject in self.subjects])
        self.rows = {s: latents[s].rows(windows[s].trials["image_id"].to_numpy()) for s in windows}
        self.batches = ShuffledBatches(int(self.ends[-1]), settings.batch_size, seed)

    def batch(self, step: int, rows: slice) -> dict[str, Any]:
        """Windows by subject, posteriors and random numbers of rows of a step, in trial order.

        Trials that follow each other lie beside each other on disk.
        """
        samples = self.batches[step][rows]
        order = np.argsort(samples, kind="stable")
        normal, uniform = self._draw(step, np.arange(rows.start, rows.stop)[order])
        time = draw_timesteps(
            uniform[:, 0], self.settings.timesteps, len(self.scheduler.alphas_cumprod)
        )
        dropped = uniform[:, 1] < self.settings.condition_dropout
        return self._read(samples[order]) | {"normal": normal, "time": time, "dropped": dropped}

    def loss(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """Mean loss over a batch."""
        n = math.prod(self.shape)
        noise, posterior, offset = batch["normal"].split([n, n, self.shape[0]], dim=1)
        noise = (
            noise.unflatten(1, self.shape) + self.settings.offset_noise * offset[..., None, None]
        )
        mean, std = batch["mean"].float(), batch["logvar"].float().mul(0.5).exp()
        clean = (mean + std * posterior.unflatten(1, self.shape)) * self.scale
        noisy = self.scheduler.add_noise(clean, noise, batch["time"])
        predicted = model(list(batch["bold"].items()), noisy, batch["time"], batch["dropped"])
        return (predicted.float() - noise).square().mean()

    def _read(self, samples: np.ndarray) -> dict[str, Any]:
        """Windows by subject, and the posterior's mean and log-variance, of sorted samples."""
        bold, mean, logvar = {}, [], []
        of = np.searchsorted(self.ends, samples, side="right")
        starts = np.concatenate([[0], self.ends[:-1]])
        for k in np.unique(of).tolist():
            subject, local = self.subjects[k], samples[of == k] - starts[k]
            bold[subject] = torch.from_numpy(read_finite(self.windows[subject], local, subject))
            rows, cache = self.rows[subject][local], self.latents[subject]
            mean.append(torch.from_numpy(cache["mean"][rows]))
            logvar.append(torch.from_numpy(cache["logvar"][rows]))
        return {"bold": bold, "mean": torch.cat(mean), "logvar": torch.cat(logvar)}

    def _draw(self, step: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Normal numbers of rows (noise, posterior, offset per channel) and two uniform ones."""
        normal = torch.empty(len(rows), 2 * math.prod(self.shape) + self.shape[0])
        uniform = torch.empty(len(rows), 2)
        stream = torch.Generator()
        for i, row in enumerate(rows.tolist()):
            stream.manual_seed(derive(self.seed, "step", step, row))
            torch.randn(normal.shape[1], generator=stream, out=normal[i])
            torch.rand(2, generator=stream, out=uniform[i])
        return normal, uniform
