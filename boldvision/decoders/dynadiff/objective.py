"""Dynadiff's loss: the noise in a latent, predicted from BOLD (paper, section 2.2, appendix B)."""

from __future__ import annotations

from collections.abc import Mapping

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

    Everything random in a step is drawn for the whole global batch from (seed, step), then each
    process takes its rows: the number of devices does not change what is learned.

    Parameters
    ----------
    windows, latents : mapping of str to Windows and TargetFile
        By subject; latents of all images shown in the windows.
    generator : Generator
    settings : Training
    seed : int
    device : torch.device
    """

    def __init__(
        self,
        windows: Mapping[str, Windows | AveragedWindows],
        latents: Mapping[str, TargetFile],
        generator: Generator,
        settings: Training,
        seed: int,
        device: torch.device | str,
    ):
        self.windows, self.latents, self.settings = windows, latents, settings
        self.scheduler, self.shape = generator.scheduler, generator.latent_shape
        self.scale = generator.vae.config.scaling_factor
        self.seed, self.device = seed, device
        self.subjects = list(windows)
        self.ends = np.cumsum([len(windows[subject]) for subject in self.subjects])
        self.rows = {s: latents[s].rows(windows[s].trials["image_id"].to_numpy()) for s in windows}
        self.batches = ShuffledBatches(int(self.ends[-1]), settings.batch_size, seed)
        self._step = -1
        self._random: dict[str, torch.Tensor] = {}

    def __call__(self, model: torch.nn.Module, step: int, rows: slice) -> torch.Tensor:
        """Mean loss over `rows` of the global batch of `step`."""
        samples = self.batches[step][rows]
        order = np.argsort(samples, kind="stable")
        groups, mean, std = self._read(samples[order])
        random = {name: values[rows][order] for name, values in self._draw(step).items()}
        noise = random["noise"] + self.settings.offset_noise * random["offset"]
        clean = (mean + std * random["posterior"]) * self.scale
        t = draw_timesteps(
            random["time"], self.settings.timesteps, len(self.scheduler.alphas_cumprod)
        )
        dropped = random["drop"] < self.settings.condition_dropout
        noisy = self.scheduler.add_noise(clean, noise, t)
        predicted = model(groups, *map(self._move, (noisy, t, dropped)))
        return (predicted.float() - self._move(noise)).square().mean()

    def _read(self, samples: np.ndarray):
        """Windows by subject, and the posterior's mean and std, of sorted sample indices."""
        groups, means, stds = [], [], []
        of = np.searchsorted(self.ends, samples, side="right")
        starts = np.concatenate([[0], self.ends[:-1]])
        for k in np.unique(of).tolist():
            subject, local = self.subjects[k], samples[of == k] - starts[k]
            bold = torch.from_numpy(read_finite(self.windows[subject], local, subject))
            groups.append((subject, self._move(bold)))
            rows, cache = self.rows[subject][local], self.latents[subject]
            means.append(torch.from_numpy(cache["mean"][rows]).float())
            stds.append(torch.from_numpy(cache["logvar"][rows]).float().mul(0.5).exp())
        return groups, torch.cat(means), torch.cat(stds)

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _draw(self, step: int) -> dict[str, torch.Tensor]:
        """Random numbers of a step's global batch; drawn once, used by all its pieces."""
        if step != self._step:
            n, stream = self.settings.batch_size, torch.Generator()
            stream.manual_seed(derive(self.seed, "step", step))
            self._random = {
                "noise": torch.randn(n, *self.shape, generator=stream),
                "offset": torch.randn(n, self.shape[0], 1, 1, generator=stream),
                "posterior": torch.randn(n, *self.shape, generator=stream),
                "time": torch.rand(n, generator=stream),
                "drop": torch.rand(n, generator=stream),
            }
            self._step = step
        return self._random
