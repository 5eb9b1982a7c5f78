"""From OpenAI's CLIP, as the Hugging Face Hub has it, to what `load` reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from boldvision.files import atomic, reading
from boldvision.networks.clip.network import SIZES, TOKENIZER, WEIGHTS

EXPECTED = "a published CLIP"
REMEDY = "fetch the network again, or correct `networks.….files`"

PARTS = ("vision_model.", "text_model.", "visual_projection.", "text_projection.")
BUFFERS = ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")
"""Numbers of places, which older checkpoints hold; transformers makes them itself."""

KEYS = {
    "vision": ("image_size", "patch_size"),
    "text": ("vocab_size", "max_position_embeddings"),
}
SHARED_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
)
"""What the published configuration must say of each transformer; defaults have changed."""


def converted(files: Mapping[str, Path], out: Path) -> None:
    """Write the parameters of both transformers, their sizes and the tokenizer to folder `out`.

    Parameters
    ----------
    files : dict of str to Path
        ``model.safetensors``, ``config.json`` and ``tokenizer.json``.
    out : Path

    Raises
    ------
    UserError
        A file is not that of a CLIP.
    """
    with reading(files[SIZES], EXPECTED, REMEDY):
        sizes = _sizes(json.loads(files[SIZES].read_text()))
    with (
        reading(files[WEIGHTS], EXPECTED, REMEDY),
        safe_open(files[WEIGHTS], framework="pt") as file,
    ):
        names = [n for n in file.keys() if n.startswith(PARTS) and n not in BUFFERS]  # noqa: SIM118
        if missing := [part for part in PARTS if not any(n.startswith(part) for n in names)]:
            raise ValueError(f"no {missing[0]}…")
        state = {name: file.get_tensor(name) for name in names}
    with atomic(out / WEIGHTS) as part:
        save_file(state, part, metadata={"format": "pt"})
    (out / SIZES).write_text(json.dumps(sizes, indent=1))
    shutil.copyfile(files[TOKENIZER], out / TOKENIZER)


def _sizes(published: dict) -> dict[str, dict]:
    width = published["projection_dim"]
    return {
        part: {key: published[f"{part}_config"][key] for key in (*SHARED_KEYS, *own)}
        | {"projection_dim": width}
        for part, own in KEYS.items()
    }
