"""The stages of the training of Brain-Diffuser."""

STAGES = {"ridge": "decompose the training windows, for regressions to latents and tokens"}
