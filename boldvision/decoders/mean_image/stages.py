"""The stages of the training of the mean image."""

STAGES = {"train": "average the training images"}
