"""The stages of what stands for the training of the official weights."""

STAGES = {"convert": "make a model of ours of the weights that the authors published"}
