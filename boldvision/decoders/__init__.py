"""Decoders: one folder each, here or in a plug-in (CONTRIBUTING.md)."""
