"""What the regressions predict."""

KINDS = {"latents": "vdvae", "image_tokens": "clip_image", "text_tokens": "clip_text"}
"""Kinds of the targets that a run names, by what it calls them."""
