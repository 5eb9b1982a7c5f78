"""Target `clip_image`: what CLIP makes of an image."""
