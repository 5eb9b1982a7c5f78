"""CLIP: tokens of pictures and of what is said about them, in one space."""
