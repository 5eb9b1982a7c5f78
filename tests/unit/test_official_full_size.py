"""The key map of the official weights at true sizes, on the meta device."""

import os

import pytest
import torch
from official_data import in_half, official_names, write_checkpoint
from test_dynadiff_full_size import VOXELS, new_generator

from boldvision.decoders.dynadiff.model import Dynadiff
from boldvision.decoders.dynadiff_official.keys import convert, sources
from boldvision.decoders.dynadiff_official.settings import Run
from boldvision.decoders.dynadiff_official.zero import read_checkpoint


@pytest.fixture(scope="module")
def ours():
    run = Run(
        decoder="dynadiff_official",
        split="standard",
        preprocessing="nsd_prep_released",
        generator="versatile_diffusion",
        weights="unused",
    )
    with torch.device("meta"):
        return Dynadiff({"subj01": VOXELS}, 6, new_generator(), run).trained()


PUBLISHED = {
    "subject_layers.weights": (1, 15724, 1552),
    "lin0.weight": (6 * 1552, 1, 1552),
    "lin0.bias": (6 * 1552,),
    "post_lin0.0.weight": (1552,),
    "post_lin0.0.bias": (1552,),
    "out_time_agg.weight": (1, 6),
    "out_time_agg.bias": (1,),
    "lin1.weight": (257 * 768, 1552),
    "lin1.bias": (257 * 768,),
}
"""Of the released brain module, subject 1."""


def test_the_map_covers_all_that_is_trained(ours):
    needed = sources(ours, "subj01", 6)
    shapes = {source.name: source.shape for source in needed.values()}
    adapters = {name for name in shapes if name.startswith("unet.")}
    brain = {name: shape for name, shape in shapes.items() if name not in adapters}
    assert len(needed) == 147
    assert brain == {f"brain_modules.clip_image.{n}": shape for n, shape in PUBLISHED.items()}
    assert adapters == {in_half(name, 0) for name in ours if name.startswith("unet.")}
    assert len(adapters) == 128
    assert {4} == {min(shapes[name]) for name in adapters}


def test_every_part_has_the_shape_of_ours(ours):
    needed = sources(ours, "subj01", 6)
    theirs = {s.name: torch.empty(s.shape, device="meta") for s in needed.values()}
    found = convert(theirs, needed, "file", "subj01")
    assert {n: v.shape for n, v in found.items()} == {n: v.shape for n, v in ours.items()}


@pytest.mark.skipif("BOLDVISION_SLOW" not in os.environ, reason="writes 5 GB: BOLDVISION_SLOW=1")
def test_weights_of_true_size_arrive(ours, tmp_path):
    """As eight processes of DeepSpeed leave them."""
    stream = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(value.shape, generator=stream) for name, value in ours.items()}
    folder = write_checkpoint(tmp_path / "checkpoint", official_names(drawn), ranks=8)
    states, ranks = folder / "mp_rank_00_model_states.pt", sorted(folder.glob("zero_pp_rank_*"))
    needed = sources(ours, "subj01", 6)
    found = convert(read_checkpoint(states, ranks), needed, states, "subj01")
    assert found.keys() == drawn.keys()
    for name, value in drawn.items():
        assert torch.equal(found[name], value), name
