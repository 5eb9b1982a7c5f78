"""Random data and networks of the shapes that a configuration asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from boldvision import plugins
from boldvision.captions import write_captions
from boldvision.config import BaseRun, Betas, Config, Fmriprep, Generator
from boldvision.datasets.choose import dataset_of
from boldvision.decoders.base import SubjectData
from boldvision.images import write_images
from boldvision.networks.settings import BaseNetwork
from boldvision.seeds import derive, numpy_generator
from boldvision.shipped import shipped
from boldvision.signal.surface import VERTICES
from boldvision.trials.table import write_split, write_trials

RUNS, TRIALS_PER_RUN = 12, 62
"""Of one session, as NSD's."""

CAPTIONS = ["a small red boat low on a blue ground"] * 5
"""Of every image."""

RANDOM = "random weights"


class Parts:
    """The generators and networks that runs need, their own ones or random ones of their sizes.

    Parameters
    ----------
    config : Config
    scratch : Path
        Folder for random weights.

    Attributes
    ----------
    generators : dict of str to Generator
    networks : dict of str to BaseNetwork
    weights : dict of str to str
        What the weights of each are, by name.
    """

    def __init__(self, config: Config, scratch: Path):
        self.config, self.scratch = config, scratch
        self.generators: dict[str, Generator] = {}
        self.networks: dict[str, BaseNetwork] = {}
        self.weights: dict[str, str] = {}

    def add(self, run: BaseRun) -> None:
        """Find or make those that a run and its targets name."""
        targets = [self.config.target(name) for name in run.target_names()]
        generators = [*run.generator_names(), *(n for t in targets for n in t.generator_names())]
        networks = [*run.network_names(), *(n for t in targets for n in t.network_names())]
        for name in {*generators} - {*self.generators}:
            generator = usable(self.config.generators[name], self.scratch / name)
            self.generators[name], self.weights[name] = generator
        for name in {*networks} - {*self.networks}:
            network = usable_network(self.config.network(name), self.scratch / name)
            self.networks[name], self.weights[name] = network


def random_subject(
    folder: Path, config: Config, run: str, subject: str, images: int
) -> SubjectData:
    """One session of a subject: noise for BOLD and for `images` images, each shown many times.

    Targets are named, and not made. Captions of the images are beside them.
    """
    settings = config.run(run)
    data = SubjectData(
        subject,
        trials=folder / "trials.parquet",
        split=folder / "split.parquet",
        preprocessing=config.preprocessing[settings.preprocessing],
        images=folder / "images.h5",
        bold=folder / "bold",
        targets={name: folder / f"{name}.h5" for name in settings.target_names()},
    )
    data.bold.mkdir(parents=True)
    trials = _trials(images)
    write_trials(trials, data.trials)
    write_split(trials, np.where(trials["shared"], "test", "train"), data.split)
    noise = numpy_generator(0, "benchmark", subject)
    shape = _series_shape(config, data, subject)
    series = noise.standard_normal(shape, np.float32).astype(data.preprocessing.dtype)
    np.save(data.bold / "session01.npy", series)
    px = config.design.image_px
    pixels = noise.integers(0, 256, (images, px, px, 3), np.uint8)
    write_images(data.images, np.arange(1, images + 1), [pixels], {})
    write_captions(captions_of(data), dict.fromkeys(range(1, images + 1), CAPTIONS))
    return data


def captions_of(data: SubjectData) -> Path:
    """Where the captions of its images are."""
    return data.images.with_name("captions.parquet")


def usable_network(settings: BaseNetwork, folder: Path) -> tuple[BaseNetwork, str]:
    """A network, and what its weights are; see :func:`usable`."""
    place, weights = shipped(settings.folder), settings.label or "its own weights"
    if not Path(place).is_dir():
        place, weights = str(folder), RANDOM
        folder.mkdir(parents=True)
        plugins.defined("networks", settings.kind, "blank", "write")(settings, folder)
    return settings.model_copy(update={"folder": place}), weights


def usable(settings: Generator, folder: Path) -> tuple[Generator, str]:
    """A generator, and what its weights are.

    Where its folder is not there, one of its sizes and of random weights is written to `folder`.
    """
    place, weights = shipped(settings.folder), settings.label or "its own weights"
    if not Path(place).is_dir():
        place, weights = str(folder), RANDOM
        _write_random(settings, folder)
    return settings.model_copy(update={"folder": place}), weights


def _write_random(settings: Generator, folder: Path) -> None:
    """Networks of the published sizes, in half precision; it is how fast they are that counts."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from boldvision.generators.base import full_size_unet_config, full_size_vae_config
    from boldvision.generators.dual import DualUNet, new_text_transformers
    from boldvision.generators.pretrain import new_scheduler
    from boldvision.generators.pretrain_dual import save

    torch.manual_seed(derive(0, "benchmark", "generator"))
    device = "cuda" if torch.cuda.is_available() else "cpu"  # where 943 M numbers take no time
    with torch.device(device):
        unet = UNet2DConditionModel(**full_size_unet_config())
        if settings.text_width:
            text = new_text_transformers(unet, settings.text_width)
            folder.mkdir(parents=True)
            save(DualUNet(unet, text).half(), settings.text_width, folder)
        else:
            unet.half().save_pretrained(folder / "image_unet")
        AutoencoderKL(**full_size_vae_config()).half().save_pretrained(folder / "vae")
    new_scheduler().save_pretrained(folder / "scheduler")


def _series_shape(config: Config, data: SubjectData, subject: str) -> tuple[int, int, int]:
    on_surface = isinstance(data.preprocessing, Fmriprep)
    voxels = VERTICES if on_surface else config.subjects[subject].voxels
    samples = dataset_of(config).samples(data.preprocessing)
    if isinstance(data.preprocessing, Betas):
        return samples, 1, voxels
    return RUNS, samples // RUNS, voxels


def _trials(images: int) -> pd.DataFrame:
    trial = np.arange(RUNS * TRIALS_PER_RUN)
    image = 1 + trial % images
    return pd.DataFrame(
        {
            "trial": trial,
            "session": 1,
            "task_run": 1 + trial // TRIALS_PER_RUN,
            "onset_s": 12.0 + 4.0 * (trial % TRIALS_PER_RUN),
            "image_id": image,
            "repetition": trial // images,
            "shared": image > images * 7 // 8,
        }
    )
