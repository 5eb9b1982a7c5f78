"""Latents and tokens that the regressions predict of windows."""

from __future__ import annotations

import numpy as np
import torch

from boldvision.config import Window
from boldvision.decoders.artefact import read_artefact
from boldvision.decoders.base import Trained, target_digests
from boldvision.decoders.brain_diffuser.dual import Spectrum, cross
from boldvision.decoders.brain_diffuser.examples import (
    Centred,
    Examples,
    Moments,
    Targets,
    features,
)
from boldvision.decoders.brain_diffuser.predicted import KINDS
from boldvision.decoders.brain_diffuser.rescale import of_test_set, rescaled
from boldvision.decoders.record import PARAMETERS, RECORD, REMEDY
from boldvision.errors import UserError
from boldvision.files import reading
from boldvision.trials.windows import load_windows


class Regressions:
    """What stage `ridge` made of the training windows, with these and their targets.

    Parameters
    ----------
    model : Trained

    Raises
    ------
    UserError
        The model is damaged, or was made of other windows or targets.
    """

    def __init__(self, model: Trained):
        self.run, data = model.run, model.data
        self.parameters, record = read_artefact(model.folder / "ridge")
        file = model.folder / "ridge" / RECORD
        with reading(file, "the record of a Brain-Diffuser model", REMEDY):
            window, known = Window.model_validate(record["window"]), record["data"]
        if known != [
            data.contents(self.run.sessions),
            *target_digests(self.run.target_names(), [data]),
        ]:
            raise UserError(
                f"{file}: expected a model of the training windows and targets that {data.name} "
                f"has, found one of others; {REMEDY}"
            )
        windows = load_windows(
            data.bold, data.trials, data.split, window, data.preprocessing, "train",
            sessions=self.run.sessions,
        )  # fmt: skip
        self.examples = Examples(windows, self.run.ridge, data.name)
        self.targets = {
            key: Targets(data.targets[getattr(self.run, key)], key, self.examples.image_id)
            for key in KINDS
        }
        with reading(file.with_name(PARAMETERS), "eigenvectors of training windows", REMEDY):
            values, vectors, mean, std = (
                self.parameters.pop(name).to(model.device)
                for name in ("values", "vectors", "mean", "std")
            )
        self.fit = Spectrum(values, vectors, self.examples.member.to(model.device))
        self.features = Centred(self.examples, Moments(mean, std), model.device)

    @torch.no_grad()
    def predict(self, windows: np.ndarray) -> dict[str, torch.Tensor]:
        """Latents and tokens, float32 [N, dimensions] each, of BOLD windows [N, T, V], rescaled.

        All at once: training windows and targets are read for each call.
        """
        bold = self.features.of(features(windows, self.run.ridge))
        products, per_image = cross(bold, self.features, len(self.examples)), self.fit.per_image()
        predicted = {}
        for key, targets in self.targets.items():
            shares = self.fit.shares(products, per_image, getattr(self.run.ridge.alphas, key))
            predicted[key] = self._rescaled(key, self._predicted(key, shares.float(), targets))
        return predicted

    def _predicted(self, key: str, shares: torch.Tensor, targets: Targets) -> torch.Tensor:
        mean = self.parameters[f"{key}.mean"]
        predicted = torch.empty(len(shares), targets.dimensions)
        for some, values in targets.blocks():
            centred = values.to(shares) - mean[some].to(shares)
            predicted[:, some] = (shares @ centred).cpu() + mean[some]
        return predicted

    def _rescaled(self, key: str, predicted: torch.Tensor) -> torch.Tensor:
        found = Moments(*(self.parameters[f"{key}.left_out_{name}"] for name in Moments._fields))
        if self.run.reconstruction.rescale == "test_set":
            found = of_test_set(predicted)
        true = Moments(*(self.parameters[f"{key}.{name}"] for name in Moments._fields))
        return rescaled(predicted, found, true)
