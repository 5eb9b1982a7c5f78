"""A generator's folder is read whole, or named with what is wrong in it."""

import json
import os
import shutil

import pytest
import torch
from decoder_data import write_generator
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from boldvision.errors import UserError
from boldvision.generators.base import load_generator

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(folder):
    return write_generator(folder / "whole")


@pytest.fixture
def copy(whole, tmp_path):
    """Settings of a copy that can be damaged, and its folder."""
    shutil.copytree(whole.folder, tmp_path / "copy")
    return whole.model_copy(update={"folder": str(tmp_path / "copy")}), tmp_path / "copy"


@pytest.mark.survives(
    "files",
    "A file of the generator is cut, empty, missing, a web page or of another kind",
    "The stage stops, names the file and says to fetch the generator anew",
)
@pytest.mark.parametrize(
    "file",
    [f"image_unet/{WEIGHTS}", f"vae/{WEIGHTS}", "vae/config.json",
     "image_unet/config.json", "scheduler/scheduler_config.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["cut", "empty", "page", "missing", "list"])
def test_a_damaged_file_is_named(copy, file, damage):
    settings, folder = copy
    path = folder / file
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_text({"empty": "", "page": "<html>Sign in</html>", "list": "[]"}[damage])
    with pytest.raises(UserError, match=rf"{file}: expected .*; remove the generator's folder"):
        load_generator(settings)


def rewritten(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.survives(
    "results",
    "A network of the generator lacks parameters, or has others than its sizes say",
    "It is refused; diffusers would draw the missing ones at random",
)
@pytest.mark.parametrize(
    ("part", "name"), [("image_unet", "conv_in.weight"), ("vae", "quant_conv.bias")]
)
def test_missing_and_unknown_parameters_are_refused(copy, part, name):
    settings, folder = copy
    path = folder / part / WEIGHTS
    rewritten(path, lambda tensors: tensors.update(renamed=tensors[name].clone()))
    with pytest.raises(UserError, match=rf"{part}/{WEIGHTS}: .* 0 missing and 1 unknown, such as"):
        load_generator(settings)
    rewritten(path, lambda tensors: (tensors.pop("renamed"), tensors.pop(name)))
    with pytest.raises(UserError, match=rf"1 missing and 0 unknown, such as {name}; remove"):
        load_generator(settings)


def test_sizes_that_are_not_those_of_the_file_are_refused(copy):
    settings, folder = copy
    path = folder / "image_unet" / "config.json"
    sizes = json.loads(path.read_text()) | {"cross_attention_dim": 9}
    path.write_text(json.dumps(sizes))
    with pytest.raises(UserError, match=rf"image_unet/{WEIGHTS}: expected the parameters"):
        load_generator(settings)


def test_names_of_older_diffusers_are_known(copy):
    """Versatile Diffusion's VAE was published with them."""
    settings, folder = copy
    old = AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    old.save_pretrained(folder / "vae")
    names = {
        ".to_q.": ".query.",
        ".to_k.": ".key.",
        ".to_v.": ".value.",
        ".to_out.0.": ".proj_attn.",
    }

    def rename(tensors):
        for name in list(tensors):
            for new, former in names.items():
                if new in name:
                    tensors[name.replace(new, former)] = tensors.pop(name)

    rewritten(folder / "vae" / WEIGHTS, rename)
    assert any("proj_attn" in name for name in load_file(folder / "vae" / WEIGHTS))
    found = load_generator(settings).vae.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in old.state_dict().items())
