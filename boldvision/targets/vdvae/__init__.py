"""Latents of a very deep VAE, sampled from its posterior, which Brain-Diffuser predicts first."""
