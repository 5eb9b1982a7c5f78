"""Pictures of compared decoders at true sizes, with random weights and few steps."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from boldvision.benchmark.data import Parts
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.decoders.brain_diffuser import decoder as brain_diffuser
from boldvision.decoders.mindeye1 import decoder as mindeye1
from boldvision.decoders.mindeye1.low_level_network import LowLevelNetwork
from boldvision.decoders.mindeye1.network import MindEye
from boldvision.generators.base import load_generator
from boldvision.generators.dual import load_dual_generator
from boldvision.networks.clip.network import load as load_clip
from boldvision.networks.vdvae.network import load as load_vdvae
from boldvision.plugins import merge, run_settings
from boldvision.shipped import ROOT

VOXELS, N_TR = 15724, 6
BOLD = np.random.default_rng(0).standard_normal((1, N_TR, VOXELS), np.float32)

pytestmark = [
    pytest.mark.usefixtures("no_gpu"),
    pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="16 GB: BOLDVISION_SLOW=1"),
]


@pytest.fixture(scope="module")
def nsd():
    return load_config(read_values([str(ROOT / "config" / f) for f in ("config.yaml", "nsd.yaml")]))


def made(nsd, name, folder, **reconstruction):
    """A real run with few steps in float32, and random generators and networks of its sizes."""
    few = {"reconstruction": {"precision": "no", "batch_size": 1, **reconstruction}}
    run = run_settings(merge(nsd.run(name).model_dump(mode="json"), few))
    parts = Parts(nsd, folder)
    parts.add(run)
    return run, parts


def test_brain_diffuser_makes_a_picture(nsd, tmp_path):
    run, parts = made(nsd, "brain_diffuser", tmp_path, steps=4)
    sizes = {"latents": 91_168, "image_tokens": 257 * 768, "text_tokens": 77 * 768}
    random = {key: torch.randn(1, n) for key, n in sizes.items()}
    decoder = brain_diffuser.BrainDiffuser(
        SimpleNamespace(predict=lambda bold: random),
        load_vdvae(parts.networks[run.vdvae]),
        load_clip(parts.networks[run.clip]),
        load_dual_generator(parts.generators[run.generator]),
        SimpleNamespace(run=run, networks=parts.networks, seed=0, device="cpu"),
    )
    decoder.look_at([BOLD], "subj01")
    assert decoder.reconstruct(BOLD, "subj01", [0]).shape == (1, 512, 512, 3)


def test_mindeye1_chooses_a_picture(nsd, tmp_path):
    run, parts = made(nsd, "mindeye1", tmp_path, steps=4, candidates=2)
    run = run_settings(merge(run.model_dump(mode="json"), {"high_level": {"prior": {"steps": 3}}}))
    width = parts.networks[run.teacher].width
    decoder = mindeye1.MindEye1Decoder(
        MindEye(N_TR * VOXELS, 257, 768, run.high_level),
        LowLevelNetwork(N_TR * VOXELS, width, run.low_level),
        load_generator(parts.generators[run.generator]),
        load_clip(parts.networks[run.clip]),
        run,
        seed=0,
        device="cpu",
        label="",
    )
    assert decoder.reconstruct(BOLD, "subj01", [0]).shape == (1, 512, 512, 3)
