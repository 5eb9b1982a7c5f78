"""The stages of the training of Dynadiff."""

STAGES = {"train": "train brain module and adapters, jointly"}
