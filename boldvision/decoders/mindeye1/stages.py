"""The stages of the training of MindEye1."""

STAGES = {
    "high_level": "train the map to CLIP tokens and the prior, jointly",
    "low_level": "train the map to latents of a blurry picture",
}

AFTER: dict[str, list[str]] = {"low_level": []}
