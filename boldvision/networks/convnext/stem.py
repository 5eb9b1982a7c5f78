"""How a ConvNeXt begins."""

STEM_FACTOR = 4
"""Pixels of a side that the first convolution takes together; each later stage halves."""
