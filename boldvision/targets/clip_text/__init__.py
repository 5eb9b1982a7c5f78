"""Target `clip_text`: what CLIP makes of the captions of an image."""
