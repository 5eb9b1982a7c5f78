"""A folder of weights as Dynadiff's authors publish them, of random numbers: DeepSpeed's ZeRO-2."""

import math
import re
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from decoder_data import N_TR, WINDOW, data_arguments
from diffusers import UNet2DConditionModel

from boldvision import plugins
from boldvision.decoders.dynadiff.model import Dynadiff

CLIP = "brain_modules.clip_image."


def run_settings(weights, **changes) -> dict:
    """Settings of a run, small."""
    return {
        "decoder": "dynadiff_official",
        "split": "standard",
        "preprocessing": "nsd_prep",
        "generator": "tiny",
        "weights": str(weights),
        "brain_module": {"hidden": 6},
        "reconstruction": {"steps": 2, "batch_size": 2},
    } | changes


def random_model(generator, run: dict, voxels: int, n_tr: int = N_TR) -> Dynadiff:
    """Our model of subj01, of random numbers, adapters too."""
    folder = Path(generator.folder) / "image_unet"
    unet = UNet2DConditionModel.from_pretrained(folder).requires_grad_(False)
    frozen = types.SimpleNamespace(settings=generator, unet=unet)
    torch.manual_seed(0)
    model = Dynadiff({"subj01": voxels}, n_tr, frozen, plugins.run_settings(run))
    for value in model.trained().values():
        value.copy_(torch.randn_like(value) / 8)
    return model.eval()


def official_names(ours: dict) -> dict:
    """Parameters of ours of subj01 under the names, and in the shapes, of the released code."""
    brain = "brain_module."
    n_tr = ours[f"{brain}merge_time.weight"].shape[1]
    steps = [f"{brain}timestep_layers.subj01.layers.{t}" for t in range(n_tr)]
    found = {
        "subject_layers.weights": ours[f"{brain}subject_layers.subj01.weight"].T[None],
        "lin0.weight": torch.cat([ours[f"{name}.weight"] for name in steps])[:, None],
        "lin0.bias": torch.cat([ours[f"{name}.bias"] for name in steps]),
    }
    for theirs, own in (("post_lin0.0", "block.0"), ("out_time_agg", "merge_time")):
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = ours[f"{brain}{own}.{kind}"]
    found |= {f"lin1.{kind}": ours[f"{brain}output.{kind}"] for kind in ("weight", "bias")}
    found = {CLIP + name: value for name, value in found.items()}
    for name, value in ours.items():
        if name.startswith("unet."):
            for half, times in ((0, 1), (1, 3)):
                found[in_half(name, half)] = times * value
    return found


def in_half(name: str, half: int) -> str:
    """The name of a parameter of a plain U-Net in one half of the dual one."""
    return re.sub(r"(attentions\.\d+\.)", rf"\1transformers.{half}.", name)


def frozen_unet(model: Dynadiff) -> dict:
    """What is not trained of the U-Net, by the names of the dual one."""
    names = [name for name, p in model.unet.named_parameters() if not p.requires_grad]
    plain = {f"unet.{name}": model.unet.get_parameter(name).detach() for name in names}
    return {in_half(name, 0): value for name, value in plain.items()}


# DeepSpeed's files


class ZeroStageEnum(IntEnum):
    """As in ``deepspeed.runtime.zero.config``."""

    gradients = 2
    weights = 3


class LossScaler:
    """As in ``deepspeed.runtime.fp16.loss_scaler``."""

    def __init__(self):
        self.cur_scale = 65536.0


@contextmanager
def deepspeed_of_old():
    """Within it, these two classes are found where DeepSpeed has them, so that pickles say so."""
    places = {
        "deepspeed.runtime.zero.config": ZeroStageEnum,
        "deepspeed.runtime.fp16.loss_scaler": LossScaler,
    }
    kept = dict(sys.modules)
    try:
        for place, kind in places.items():
            words = place.split(".")
            for end in range(1, len(words) + 1):
                name = ".".join(words[:end])
                sys.modules[name] = types.ModuleType(name)
            setattr(sys.modules[place], kind.__name__, kind)
            kind.__module__ = place
        yield
    finally:
        for kind in places.values():
            kind.__module__ = __name__
        sys.modules.clear()
        sys.modules.update(kept)


def write_checkpoint(
    folder: Path,
    *groups: dict,
    frozen: dict | None = None,
    buffers: dict | None = None,
    shared: dict | None = None,
    ranks: int = 2,
    padded: bool = True,
    stage: int = 2,
    change=lambda content: None,
) -> Path:
    """Write parameter groups as `ranks` processes under ZeRO do; `frozen` is not trained.

    `change` may alter what is in a file before it is written.
    """
    folder.mkdir(parents=True)
    frozen, buffers, everything = frozen or {}, buffers or {}, {}
    for group in groups:
        everything |= group
    model = {
        "module": OrderedDict((n, v.half()) for n, v in (everything | frozen | buffers).items()),
        "buffer_names": list(buffers),
        "param_shapes": [OrderedDict((n, v.shape) for n, v in group.items()) for group in groups],
        "frozen_param_shapes": {n: v.shape for n, v in frozen.items()} or None,
        "frozen_param_fragments": frozen or None,
        "shared_params": shared or {},
        "optimizer": None,
        "lr_scheduler": {},
        "global_steps": 60000,
        "ds_version": "0.15.4",
    }
    shares = [_shares(group, ranks, padded) for group in groups]
    with deepspeed_of_old():
        change(model)
        torch.save(model, folder / "mp_rank_00_model_states.pt")
        for rank in range(ranks):
            parts = [share[rank] for share in shares]
            state = {
                "loss_scaler": LossScaler(),
                "dynamic_loss_scale": True,
                "base_optimizer_state": [
                    {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.ones_like(p)}
                    for p in parts
                ],
                "single_partition_of_fp32_groups": parts,
                "zero_stage": ZeroStageEnum(stage),
                "partition_count": [ranks] * len(groups),
                "ds_version": "0.15.4",
            }
            name = f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
            content = {"optimizer_state_dict": state, "ds_config": {}}
            change(content)
            torch.save(content, folder / name)
    return folder


def _shares(group: dict, ranks: int, padded: bool) -> list:
    """A flat group, aligned to twice the processes, in equal parts; the padding may be cut off."""
    flat = torch.cat([value.reshape(-1).float() for value in group.values()])
    size = math.ceil(len(flat) / (2 * ranks)) * 2
    rest = torch.full((size * ranks - len(flat),), 7.0)
    flat = torch.cat([flat, rest]) if padded else flat
    return [flat[size * rank : size * (rank + 1)].clone() for rank in range(ranks)]


def write_official(folder: Path, model: Dynadiff, name: str = "sub01", **more) -> dict:
    """The folder of a subject with a model of ours in it; what was written, by its names."""
    official = {f"model.{n}": v for n, v in official_names(model.trained()).items()}
    brain = {n: v for n, v in official.items() if ".brain_modules." in n}
    adapters = {n: v for n, v in official.items() if n not in brain}
    write_checkpoint(folder / name / "checkpoint", brain, adapters, **more)
    return official


def convert_arguments(generator, subject, run, out, window=None) -> list[str]:
    """Command line of stage `dynadiff_official.convert`."""
    told = data_arguments(generator, [subject], run, 0, window=window or WINDOW)
    return ["dynadiff_official.convert", *told, "--out", str(out / "convert")]


def prepare(folder: Path, run: dict, generator, subject) -> dict:
    """`run` with weights of random numbers, written to `folder`."""
    run = run | {"weights": str(folder)}
    voxels = np.load(subject.bold / "session01.npy", mmap_mode="r").shape[-1]
    write_official(folder, random_model(generator, run, voxels))
    return run
