"""One miniature NSD in memory: what was shown, and how every voxel answers to it."""

from __future__ import annotations

import numpy as np

from boldvision import config
from boldvision.datasets.miniature import bold
from boldvision.datasets.miniature.experiment import experiment_design, run_designs
from boldvision.datasets.miniature.scenes import draw_scene, render_all
from boldvision.seeds import numpy_generator


class Settings(config.Section):
    """The part of the configuration that the miniature depends on."""

    miniature: config.Miniature
    subjects: dict[str, config.Subject]
    design: config.Design


class Simulation:
    """One miniature NSD in memory: design, pictures and what every voxel answers to them."""

    def __init__(self, settings: Settings):
        self.settings, self.miniature = settings, settings.miniature
        sessions = max(subject.sessions for subject in settings.subjects.values())
        seed = self.miniature.seed
        self.fields = experiment_design(settings.design, sessions, seed)
        self.images = render_all(seed, settings.design.images, settings.design.image_px)
        self.scenes = [draw_scene(seed, i) for i in range(1, settings.design.images + 1)]
        self.features, group = bold.image_features(self.images, self.scenes)
        self.voxelwise = {
            name: bold.draw_voxels(name, subject.voxels, self.features, group, self.miniature)
            for name, subject in settings.subjects.items()
        }

    def series(self, name: str, session: int, task_run: int | None) -> np.ndarray:
        """Raw series of nsdgeneral, int16 units as float, [226, voxels]; `None` is a rest run."""
        voxels = self.voxelwise[name]
        n_voxels = len(voxels.hrf)
        random = numpy_generator(self.miniature.seed, "noise", name, session, str(task_run))
        signal = bold.BASELINE + bold.run_noise(random, n_voxels, self.miniature)
        if task_run is not None:
            number = self.settings.subjects[name].number
            design = run_designs(self.fields, number)[session - 1, task_run - 1]
            rows = np.flatnonzero(design)
            amplitude = self.features[design[rows] - 1] @ voxels.weights
            signal += bold.run_response(rows, bold.RESPONSE_STD * amplitude, voxels.hrf)
        return signal
