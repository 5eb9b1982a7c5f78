"""From the names and shapes of the authors' parameters to ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from boldvision.errors import UserError

BRAIN = "brain_modules.clip_image."
SAME = {
    "block.0": "post_lin0.0",
    "merge_time": "out_time_agg",
    "output": "lin1",
}
"""Layers of our brain module, and theirs that are the same."""

IMAGE, TEXT = ".transformers.0.", ".transformers.1."
"""The two halves of their U-Net; that of text is multiplied by zero."""

OTHER = {
    r"brain_modules\.(?!clip_image\.)": "a brain module beside clip_image",
    r"brain_modules\.clip_image\.(.*\.)?mlp\.": "residual blocks",
}
"""Variants of their class that Dynadiff does not have, by their names."""


@dataclass(frozen=True)
class Source:
    """Where a parameter of ours comes from: theirs, its shape, and which part of it."""

    name: str
    shape: tuple[int, ...]
    part: Callable[[torch.Tensor], torch.Tensor] = lambda theirs: theirs


def sources(expected: Mapping[str, torch.Tensor], subject: str, n_tr: int) -> dict[str, Source]:
    """Of each parameter of a model of one subject.

    Parameters
    ----------
    expected
        From `Dynadiff.trained`; only names and shapes count.
    subject, n_tr
        Whom the model is of, and the samples of its window.
    """
    return {name: _source(name, value, subject, n_tr) for name, value in expected.items()}


def _source(name: str, ours: torch.Tensor, subject: str, n_tr: int) -> Source:
    shape = tuple(ours.shape)
    if name.startswith("unet."):
        return Source(re.sub(r"(\.attentions\.\d+)\.", rf"\1{IMAGE}", name), shape)
    layer, _, kind = name.removeprefix("brain_module.").rpartition(".")
    if layer == f"subject_layers.{subject}":
        return Source(f"{BRAIN}subject_layers.weights", (1, *shape[::-1]), lambda w: w[0].T)
    if found := re.fullmatch(rf"timestep_layers\.{subject}\.layers\.(\d+)", layer):
        width, begin = shape[0], int(found[1]) * shape[0]
        if kind == "bias":
            return Source(f"{BRAIN}lin0.bias", (n_tr * width,), lambda b: b[begin : begin + width])
        whole = (n_tr * width, 1, width)
        return Source(f"{BRAIN}lin0.weight", whole, lambda w: w[begin : begin + width, 0])
    return Source(f"{BRAIN}{SAME[layer]}.{kind}", shape)


def convert(
    theirs: Mapping[str, torch.Tensor], needed: Mapping[str, Source], file: Path, subject: str
) -> dict[str, torch.Tensor]:
    """Our parameters, of theirs.

    Parameters
    ----------
    theirs
        All that `file` is about, by their names.
    needed
        From :func:`sources`.
    file, subject
        For messages.

    Raises
    ------
    UserError
        A parameter is missing or has another shape.
    """
    for variant, what in OTHER.items():
        if name := next((n for n in theirs if re.match(variant, n)), None):
            raise UserError(
                f"{file}: expected Dynadiff as published, found {what}, {name}; import the weights "
                "of facebook/dynadiff"
            )
    for source in needed.values():
        if source.name not in theirs:
            raise UserError(
                f"{file}: expected {source.name}, found none among {len(theirs)} parameters; "
                "import the weights of facebook/dynadiff"
            )
        if (found := tuple(theirs[source.name].shape)) != source.shape:
            raise UserError(f"{file}: {_shape(source, found, subject)}")
    return {name: source.part(theirs[source.name]) for name, source in needed.items()}


def _shape(source: Source, found: tuple[int, ...], subject: str) -> str:
    if source.name.endswith("subject_layers.weights") and len(found) == 3:
        if found[0] != 1:
            return (
                f"expected weights of one subject, found {source.name} of {found[0]}; take a "
                "checkpoint of one subject"
            )
        if found[1] != source.shape[1]:
            return (
                f"expected {source.shape[1]} voxels, as the clean series of {subject} have, found "
                f"{found[1]}: another subject's, or of another region; correct `weights` of the run"
            )
    return (
        f"expected {source.name} of shape {list(source.shape)}, as the settings of the run and its "
        f"window say, found {list(found)}; correct these, or import the weights of "
        "facebook/dynadiff"
    )


def rest(theirs: Iterable[str], needed: Mapping[str, Source]) -> dict[str, str]:
    """What else the authors saved, by their names: what a plain U-Net, ``unet.``, would call it.

    Its half for text and the VAE are left out: neither was trained with an effect.
    """
    used = {source.name for source in needed.values()}
    others = [n for n in theirs if n not in used and TEXT not in n and not n.startswith("vae.")]
    return {name: name.replace(IMAGE, ".").replace(".base_layer.", ".") for name in others}
