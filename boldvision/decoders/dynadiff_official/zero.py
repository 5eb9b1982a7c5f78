"""Parameters of a checkpoint of DeepSpeed's ZeRO, stages 1 and 2, without DeepSpeed.

The parameters of a group, in float32 and one after another, are cut into as many parts as there
were processes; each process wrote its part beside its part of the optimizer's moments, which are
not read. Names and shapes are in another file, with what was not trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from boldvision.decoders.dynadiff_official.files import REMEDY
from boldvision.decoders.dynadiff_official.tensors import Placeholder, read_tensors
from boldvision.errors import UserError
from boldvision.files import reading

STAGES = {"optimizer_states": 1, "gradients": 2, "weights": 3}
"""Of ``ZeroStageEnum``, which some versions write by its name."""


def read_checkpoint(states: Path, ranks: Sequence[Path]) -> dict[str, torch.Tensor]:
    """All parameters and buffers by name; trained ones are float32, others as they were saved.

    Parameters
    ----------
    states : Path
        ``mp_rank_00_model_states.pt``.
    ranks : sequence of Path
        ``zero_pp_rank_0_mp_rank_00_optim_states.pt`` and so on, by rank.

    Raises
    ------
    UserError
        A file is damaged or missing, or the checkpoint is of ZeRO's stage 3.
    """
    model = read_tensors(states, REMEDY)
    parts = [_parts(file, len(ranks)) for file in ranks]
    with reading(states, "the model's states in a checkpoint of DeepSpeed", REMEDY):
        groups = model["param_shapes"]
        found = {name: model["module"][name] for name in model.get("buffer_names") or ()}
        found |= _frozen(model)
        if {len(groups)} != {len(own) for own in parts}:
            raise ValueError(f"{len(groups)} groups of parameters, and others in {ranks[0].name}")
        for shapes, *flat in zip(groups, *parts, strict=True):
            found |= _group(shapes, flat)
        if other := [name for name, value in found.items() if not torch.is_tensor(value)]:
            raise ValueError(f"{other[0]}, no tensor")
        shared = model.get("shared_params") or {}
        found |= {name: found[of] for name, of in shared.items() if of in found}
    return found


def _parts(file: Path, count: int) -> list[torch.Tensor]:
    """The part of each group that a process wrote."""
    state = read_tensors(file, REMEDY)
    with reading(file, "the optimizer's states in a checkpoint of DeepSpeed", REMEDY):
        state = state["optimizer_state_dict"]
        if (stage := _stage(state["zero_stage"])) not in (1, 2):
            raise UserError(
                f"{file}: expected a checkpoint of ZeRO's stage 1 or 2, found stage {stage}; merge "
                "it by DeepSpeed's zero_to_fp32.py, whose result can be saved in stage 1 or 2"
            )
        processes = state["partition_count"]
        processes = max(processes) if isinstance(processes, list) else processes
        if processes != count:
            raise UserError(
                f"{file.parent}: expected the files of {processes} processes, as {file.name} says, "
                f"found {count}; {REMEDY}"
            )
        parts = list(state["single_partition_of_fp32_groups"])
        if not all(map(_is_row, parts)):
            raise ValueError("parts that are no rows of float32")
        return parts


def _is_row(part: Any) -> bool:
    """Whether it is a part; one number that stands for many could ask for any memory."""
    return (
        torch.is_tensor(part)
        and part.dtype == torch.float32
        and part.ndim == 1
        and part.is_contiguous()
    )


def _stage(value: Any) -> Any:
    value = value.args[-1] if isinstance(value, Placeholder) else value
    return STAGES.get(value, value)


def _frozen(model: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Parameters that were not trained, if they were saved."""
    found = dict(model.get("frozen_param_fragments") or {})
    for name, shape in (model.get("frozen_param_shapes") or {}).items():
        if tuple(found[name].shape) != tuple(shape):
            raise ValueError(f"{name} of shape {tuple(found[name].shape)}")
    return found


def _group(shapes: Mapping[str, Any], flat: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters of a group; its end may be padded, to twice as many numbers as there are parts."""
    counts = {name: math.prod(shape) for name, shape in shapes.items()}
    unit, needed, there = 2 * len(flat), sum(counts.values()), sum(map(len, flat))
    if math.ceil(needed / unit) != math.ceil(there / unit):
        raise ValueError(f"{there} numbers for parameters of {needed}")
    found, begin = {}, 0
    for name, shape in shapes.items():
        found[name] = _numbers(flat, begin, counts[name]).reshape(tuple(shape))
        begin += counts[name]
    return found


def _numbers(flat: Sequence[torch.Tensor], begin: int, count: int) -> torch.Tensor:
    """Numbers of a row that is cut into parts; they are copied only where they are in several."""
    pieces = []
    for part in flat:
        piece = part[max(begin, 0) : max(begin + count, 0)]
        if len(piece):
            pieces.append(piece)
        begin -= len(part)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces or [flat[0][:0]])
