"""One miniature NSD in memory: what was shown, and how every voxel answers to it."""

from __future__ import annotations

import numpy as np

from boldvision import config
from boldvision.datasets.miniature import bold
from boldvision.datasets.miniature.experiment import experiment_design, run_designs
from boldvision.datasets.miniature.scenes import draw_scene, render
from boldvision.seeds import numpy_generator


class Settings(config.Section):
    """The part of the configuration that the miniature depends on."""

    miniature: config.Miniature
    subjects: dict[str, config.Subject]
    design: config.Design


class Simulation:
    """One miniature NSD in memory: design, pictures and what every voxel answers to them.

    Parameters
    ----------
    settings : Settings
    seen_only : bool
        Draw only images that a subject of the settings sees: all 73,000 at NSD's size are 40 GB.

    Attributes
    ----------
    fields : dict of str to ndarray
        See `experiment_design`.
    image_id : ndarray of int, [N]
        Images that are drawn, 1-based, increasing.
    scenes : list of Scene
        What they show.
    images : ndarray of uint8, [N, px, px, 3]
        Their pictures.
    features : ndarray, [images of the design, F]
        By `image_id` - 1; zero where an image is not drawn.
    voxelwise : dict of str to Voxelwise
        Of every subject.
    """

    def __init__(self, settings: Settings, seen_only: bool = False):
        self.settings, self.miniature = settings, settings.miniature
        sessions = max(subject.sessions for subject in settings.subjects.values())
        seed = self.miniature.seed
        self.fields = experiment_design(settings.design, sessions, seed)
        self.image_id = np.arange(1, settings.design.images + 1)
        if seen_only:
            rows = [subject.number - 1 for subject in settings.subjects.values()]
            self.image_id = np.unique(self.fields["subjectim"][rows])
        self.scenes = [draw_scene(seed, image_id) for image_id in self.image_id.tolist()]
        self.images = np.stack([render(scene, settings.design.image_px) for scene in self.scenes])
        drawn, group = bold.image_features(self.images, self.scenes)
        self.features = np.zeros((settings.design.images, drawn.shape[1]))
        self.features[self.image_id - 1] = drawn
        self.voxelwise = {
            name: bold.draw_voxels(name, subject.voxels, drawn, group, self.miniature)
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
